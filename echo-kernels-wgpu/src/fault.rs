//! What a device says went wrong, kept until an operation can return it.

use echo_core::DeviceError;
use parking_lot::Mutex;
use std::sync::Arc;

/// The faults of one device. Its callbacks write here, from any thread.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    first: Arc<Mutex<Option<DeviceError>>>,
}

impl Faults {
    /// Keeps `error`. A lost device stays lost, and of other faults the first says most.
    pub(crate) fn put(&self, error: DeviceError) {
        let mut first = self.first.lock();
        let is_lost = matches!(error, DeviceError::Lost(_));
        match &*first {
            Some(DeviceError::Lost(_)) => {}
            Some(_) if !is_lost => {}
            _ => *first = Some(error),
        }
    }

    /// Whether something was kept that may be the first sign of a loss.
    pub(crate) fn may_be_lost(&self) -> bool {
        matches!(&*self.first.lock(), Some(error) if !matches!(error, DeviceError::Lost(_)))
    }

    /// Returns what was kept. A lost device is found lost every time, another fault once.
    pub(crate) fn check(&self) -> Result<(), DeviceError> {
        let mut first = self.first.lock();
        match &*first {
            None => Ok(()),
            Some(lost @ DeviceError::Lost(_)) => Err(lost.clone()),
            Some(_) => first.take().map_or(Ok(()), Err),
        }
    }

    /// Listens to `device`.
    pub(crate) fn watch(&self, device: &wgpu::Device) {
        let faults = self.clone();
        device.on_uncaptured_error(Arc::new(move |error| faults.put(said(&error))));
        let faults = self.clone();
        device.set_device_lost_callback(move |reason, message| {
            faults.put(DeviceError::Lost(format!("{reason:?}: {message}")));
        });
    }
}

/// An error of wgpu in the port's words.
fn said(error: &wgpu::Error) -> DeviceError {
    DeviceError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_stays_lost_and_other_faults_are_told_once() {
        let faults = Faults::default();
        let (failed, lost) = (DeviceError::Failed("a".into()), DeviceError::Lost("b".into()));
        assert_eq!(faults.check(), Ok(()));
        faults.put(failed.clone());
        faults.put(DeviceError::Failed("later".into()));
        assert_eq!(faults.check(), Err(failed.clone()));
        assert_eq!(faults.check(), Ok(()));
        faults.put(failed.clone());
        faults.put(lost.clone());
        faults.put(failed);
        assert_eq!(faults.check(), Err(lost.clone()));
        assert_eq!(faults.check(), Err(lost));
    }
}
