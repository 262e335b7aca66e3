//! Tensor descriptors: names, shapes, element types and places, checked against the file.

use std::ops::Range;

use echo_core::DType;

use super::cursor::Cursor;
use super::fault::{Fault, GgufError};
use super::header::lossy;

pub(super) const TENSORS_MAX: u64 = 65_536;
const NAME_LEN_MAX: u64 = 255;

/// One tensor as declared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    name: (u64, u8),
    pub(super) dims: [u64; 4],
    pub(super) n_dims: u8,
    pub(super) dtype: DType,
    /// From the start of the data section.
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Info {
    pub(super) fn name_range(&self) -> Range<usize> {
        let start = self.name.0 as usize;
        start..start + self.name.1 as usize
    }

    fn name(&self, bytes: &[u8]) -> String {
        lossy(&bytes[self.name_range()])
    }
}

/// Reads `n` descriptors, each complete in itself.
pub(super) fn infos(
    cursor: &mut Cursor<'_>,
    n: u64,
    alignment: u32,
) -> Result<Vec<Info>, GgufError> {
    let mut infos = Vec::new();
    for _ in 0..n {
        infos.push(info(cursor, alignment)?);
    }
    Ok(infos)
}

fn info(cursor: &mut Cursor<'_>, alignment: u32) -> Result<Info, GgufError> {
    let start = *cursor;
    let len = cursor.u64("the length of a tensor name")?;
    if len == 0 || len > NAME_LEN_MAX {
        return Err(start.fault(Fault::NameLength(len)));
    }
    let name_at = cursor.at() as u64;
    let Ok(name) = std::str::from_utf8(cursor.take(len, "a tensor name")?) else {
        return Err(start.fault(Fault::NameEncoding));
    };
    let tensor = || name.to_owned();

    let start = *cursor;
    let n_dims = cursor.u32("a tensor's dimensions")?;
    if n_dims == 0 || n_dims > 4 {
        let fault = Fault::Dimensions { tensor: tensor(), n: n_dims };
        return Err(start.fault(fault));
    }
    let mut dims = [1u64; 4];
    for dim in &mut dims[..n_dims as usize] {
        let start = *cursor;
        *dim = cursor.u64("a tensor's dimensions")?;
        if *dim == 0 {
            return Err(start.fault(Fault::ZeroDimension(tensor())));
        }
    }

    let start = *cursor;
    let type_id = cursor.u32("a tensor's element type")?;
    let Some(dtype) = dtype(type_id) else {
        let fault = Fault::ElementType { tensor: tensor(), found: foreign_type(type_id) };
        return Err(start.fault(fault));
    };
    let block = dtype.block_len() as u64;
    if !dims[0].is_multiple_of(block) {
        let fault = Fault::PartialBlock { tensor: tensor(), cols: dims[0], block };
        return Err(start.fault(fault));
    }
    let bytes = dims[1..]
        .iter()
        .try_fold(dims[0] / block, |blocks, &dim| blocks.checked_mul(dim))
        .and_then(|blocks| blocks.checked_mul(dtype.block_bytes() as u64))
        .ok_or_else(|| start.fault(Fault::SizeOverflow(tensor())))?;

    let start = *cursor;
    let offset = cursor.u64("a tensor's offset")?;
    if !offset.is_multiple_of(u64::from(alignment)) {
        let fault = Fault::Misaligned { tensor: tensor(), offset, alignment };
        return Err(start.fault(fault));
    }
    Ok(Info { name: (name_at, len as u8), dims, n_dims: n_dims as u8, dtype, offset, bytes })
}

/// Checks what only all descriptors together can tell: unique names, places inside the data
/// section of `data` bytes, no two of which overlap. Returns the descriptors' order by name.
pub(super) fn check_together(
    infos: &[Info],
    bytes: &[u8],
    data: u64,
) -> Result<Vec<u32>, GgufError> {
    let fault = |info: &Info, fault| GgufError { at: info.name.0, fault };
    let mut order: Vec<u32> = (0..infos.len() as u32).collect();
    let name = |i: u32| &bytes[infos[i as usize].name_range()];
    order.sort_unstable_by_key(|&i| (name(i), i));
    for pair in order.windows(2) {
        if name(pair[0]) == name(pair[1]) {
            let second = &infos[pair[1] as usize];
            return Err(fault(second, Fault::DuplicateTensor(second.name(bytes))));
        }
    }
    for info in infos {
        if info.offset.checked_add(info.bytes).is_none_or(|end| end > data) {
            let beyond = Fault::BeyondEnd {
                tensor: info.name(bytes),
                offset: info.offset,
                bytes: info.bytes,
                data,
            };
            return Err(fault(info, beyond));
        }
    }
    let mut by_offset = order.clone();
    by_offset.sort_unstable_by_key(|&i| (infos[i as usize].offset, i));
    for pair in by_offset.windows(2) {
        let (first, second) = (&infos[pair[0] as usize], &infos[pair[1] as usize]);
        if first.offset + first.bytes > second.offset {
            let overlap = Fault::Overlap(first.name(bytes), second.name(bytes));
            return Err(fault(second, overlap));
        }
    }
    Ok(order)
}

fn dtype(id: u32) -> Option<DType> {
    Some(match id {
        0 => DType::F32,
        1 => DType::F16,
        2 => DType::Q4_0,
        3 => DType::Q4_1,
        8 => DType::Q8_0,
        12 => DType::Q4K,
        14 => DType::Q6K,
        30 => DType::BF16,
        _ => return None,
    })
}

/// The name of an element type this crate does not read, for the message.
fn foreign_type(id: u32) -> String {
    let name = match id {
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        13 => "Q5_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("number {id}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_type_has_one_id() {
        let ids: Vec<u32> = (0..64).filter(|&id| dtype(id).is_some()).collect();
        assert_eq!(ids, [0, 1, 2, 3, 8, 12, 14, 30]);
        for id in ids {
            assert_eq!(foreign_type(id), format!("number {id}"));
        }
    }
}
