//! Records what a learned drafter is trained on: texts and the target's hidden states beside them.

use super::recording::Recording;
use crate::llama::Taps;
use echo_core::port::Children;
use echo_core::{
    BatchView, DeviceError, Drafter, Frontier, Keep, Kernels, Limits, PackedView, Settled,
};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::sync::Arc;

/// A drafter that proposes nothing and keeps the tapped hidden states of every committed row. A
/// text is handed over when its sequence ends.
///
/// Hidden states exist only for rows that went through a forward, so the engine must run without
/// prefix cache; a text that begins inside its prompt is not handed over.
pub struct Recorder {
    kernels: Arc<dyn Kernels>,
    taps: Taps,
    places: Vec<Recording>,
    rows: Vec<f32>,
    sink: Box<dyn FnMut(Recording) + Send>,
    failure: Option<DeviceError>,
}

impl Recorder {
    /// Records from `taps` on `kernels`, and gives each finished text to `sink`.
    pub fn new(
        kernels: Arc<dyn Kernels>,
        taps: Taps,
        limits: &Limits,
        sink: Box<dyn FnMut(Recording) + Send>,
    ) -> Self {
        let places = vec![Recording::default(); limits.seqs_max];
        let rows = Vec::with_capacity(limits.rows_max * taps.width);
        Recorder { kernels, taps, places, rows, sink, failure: None }
    }

    /// Copies the committed rows of a forward, which come to the host all at once.
    fn record(&mut self, batch: BatchView<'_>, packed: PackedView<'_>) -> Result<(), DeviceError> {
        let width = self.taps.width;
        self.rows.resize(packed.rows() * width, 0.0);
        self.kernels.read(self.taps.buffer, 0, &mut self.rows)?;
        let largest = f16::MAX.to_f32();
        self.rows.iter_mut().for_each(|x| *x = x.clamp(-largest, largest));
        for s in 0..packed.n_seqs() {
            let seq = packed.seqs[s];
            let rows = packed.row_start[s] as usize..packed.drafted_start[s] as usize;
            let place = &mut self.places[seq as usize];
            let known = place.rows(width);
            if rows.is_empty() || packed.position[rows.start] as usize != known {
                continue;
            }
            place.hidden.resize((known + rows.len()) * width, f16::ZERO);
            let states = &self.rows[rows.start * width..rows.end * width];
            place.hidden[known * width..].convert_from_f32_slice(states);
            let known = place.tokens.len();
            place.tokens.extend_from_slice(&batch.tokens(seq)[known..]);
        }
        Ok(())
    }
}

impl Drafter for Recorder {
    fn settle(&mut self, settled: Settled<'_>) {
        if let Err(error) = self.record(settled.batch, settled.packed) {
            self.failure = Some(error);
        }
    }

    /// Proposes nothing; reports a hidden state that could not be read.
    fn extend(
        &mut self,
        _batch: BatchView<'_>,
        _frontier: Frontier<'_>,
        _keep: &Keep,
        _children: &mut Children,
    ) -> Result<(), DeviceError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn forget(&mut self, seq: u32) {
        let recording = std::mem::take(&mut self.places[seq as usize]);
        if recording.rows(self.taps.width) > 0 {
            (self.sink)(recording);
        }
    }
}
