//! What the test's loop does after a forward, and the bugs it plants before one.

use super::engine::{Bug, Engine, Rows, STRIDE, Tree};
use echo_core::Verdicts;

impl Engine {
    /// Walks from the root along the verdicts; keeps what was accepted, poisons the rest.
    pub(super) fn commit(
        &mut self,
        s: usize,
        rows: &Rows,
        tree: &Tree,
        verdicts: &Verdicts,
        kept: &mut [bool],
    ) {
        let view = rows.view();
        let place = rows.seqs[s] as usize;
        let (all, drafted) = (view.rows_of(s), view.drafted(s));
        let answer = |row: usize| rows.sampled.iter().position(|&r| r as usize == row);
        let mut last = Some(drafted.start - 1);
        kept[all.start..drafted.start].fill(true);
        for &slot in &rows.slot[all.start..drafted.start] {
            self.cache(place, slot);
        }
        while let Some(i) = last.and_then(answer) {
            if verdicts.faulty[i] {
                // The request ends here with what it has.
                self.goal[place] = self.n_tokens[place];
                break;
            }
            let token = verdicts.token[i];
            self.tokens[place * STRIDE + self.n_tokens[place] as usize] = token;
            self.n_tokens[place] += 1;
            if self.n_tokens[place] == self.goal[place] {
                break;
            }
            let parent = last.and_then(|row| rows.node[row]);
            last = drafted.clone().find(|&row| {
                let node = rows.node[row].expect("a drafted row has a node");
                let above = tree.parent[node] as usize;
                let below = parent.map_or(above < tree.view().roots(), |p| p == above);
                below && rows.token[row] == token
            });
            if let Some(row) = last {
                kept[row] = true;
                self.accepted += 1;
                self.cache(place, rows.slot[row]);
            }
        }
        for row in drafted {
            if !kept[row] {
                self.target.poison(&[rows.slot[row]]);
                self.free.insert(0, rows.slot[row]);
                self.stale.push(rows.slot[row]);
            }
        }
    }

    fn cache(&mut self, place: usize, slot: u32) {
        self.slots[place * STRIDE + self.n_cached[place] as usize] = slot;
        self.n_cached[place] += 1;
    }

    /// Spoils the packed rows once, where the bug of this run is possible.
    pub(super) fn plant_in_rows(&mut self, rows: &mut Rows) {
        if self.planted {
            return;
        }
        let view = rows.view();
        let drafted = (0..view.n_seqs()).map(|s| view.drafted(s)).find(|d| d.len() > 1);
        let cached = (0..view.n_seqs()).find(|&s| self.n_cached[rows.seqs[s] as usize] > 1);
        let decodes = (0..view.n_seqs()).find(|&s| !view.drafted(s).is_empty());
        match (self.bug, drafted, cached, decodes) {
            (Some(Bug::Position), Some(rows_of), ..) => {
                rows.position[rows_of.end - 1] += 1;
            }
            (Some(Bug::Mask), Some(rows_of), ..) => {
                let last = rows.ancestors[rows_of.end - 1];
                let other = (0..rows_of.len()).find(|i| last >> i & 1 == 0);
                let Some(other) = other else { return };
                rows.ancestors[rows_of.end - 1] |= 1 << other;
            }
            (Some(Bug::StaleSlot), _, Some(s), _) => {
                let writes = |slot: &&u32| !rows.slot.contains(slot);
                let Some(&stale) = self.stale.iter().rfind(writes) else {
                    return;
                };
                rows.table[rows.table_start[s] as usize] = stale;
            }
            (Some(Bug::ForeignSlot), _, Some(s), _) if rows.seqs.len() > 1 => {
                let other = (s + 1) % rows.seqs.len();
                rows.table[rows.table_start[s] as usize + 1] =
                    rows.table[rows.table_start[other] as usize];
            }
            (Some(Bug::SharedSlot), .., Some(s)) => {
                let row = rows.drafted_start[s] as usize;
                rows.slot[row] = rows.slot[row - 1];
            }
            _ => return,
        }
        self.planted = true;
    }
}
