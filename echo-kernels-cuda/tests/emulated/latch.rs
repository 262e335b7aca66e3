//! What a device is worth after operations were dropped that it had taken.

use crate::driver::Emulated;
use echo_core::port::{Buffer, Data, Device, Element, Kernels, Mat};
use echo_core::{DeviceError, Limits};
use echo_kernels_cuda::driver::{Driver, Graph, Launch};
use echo_kernels_cuda::{CudaKernels, Graphs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const WIDTH: usize = 8;

/// A machine that fails once when told.
struct Shaky {
    machine: Emulated,
    fails: Arc<AtomicBool>,
}

impl Shaky {
    fn stumble(&self) -> Result<(), DeviceError> {
        if self.fails.swap(false, Ordering::Relaxed) {
            return Err(DeviceError::Failed("it stumbled".to_owned()));
        }
        Ok(())
    }
}

impl Driver for Shaky {
    fn alloc(&self, bytes: usize, what: &str) -> Result<u64, DeviceError> {
        self.machine.alloc(bytes, what)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.stumble()?;
        self.machine.write(address, bytes)
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        self.stumble()?;
        self.machine.read(address, into)
    }

    fn launch(&self, launch: &Launch) -> Result<(), DeviceError> {
        self.stumble()?;
        self.machine.launch(launch)
    }

    fn capture(&self, launches: &[Launch]) -> Result<Graph, DeviceError> {
        self.stumble()?;
        self.machine.capture(launches)
    }

    fn replay(&self, graph: Graph) -> Result<(), DeviceError> {
        self.stumble()?;
        self.machine.replay(graph)
    }
}

/// A device with two matrices of ones, which fails at its next call of the machine.
struct Scene {
    kernels: CudaKernels,
    mats: [Mat; 2],
    fails: Arc<AtomicBool>,
}

impl Scene {
    fn new(graphs: Graphs) -> Self {
        let fails = Arc::new(AtomicBool::new(false));
        let machine = Shaky { machine: Emulated::new(0), fails: Arc::clone(&fails) };
        let kernels = CudaKernels::with_graphs(Box::new(machine), graphs);
        let ones = || {
            let buffer = kernels.alloc(Element::F32, WIDTH, "ones").expect("memory");
            kernels.write(buffer, 0, Data::F32(&[1.0; WIDTH])).expect("room");
            Mat::new(buffer, WIDTH)
        };
        Scene { mats: [ones(), ones()], kernels, fails }
    }

    fn stumble(&self) {
        self.fails.store(true, Ordering::Relaxed);
    }

    fn add(&self) -> Result<(), DeviceError> {
        self.kernels.add(1, self.mats[0], self.mats[1])
    }

    fn sum(&self) -> Result<f32, DeviceError> {
        let mut sum = [0.0];
        self.kernels.read(self.mats[1].buffer, 0, &mut sum)?;
        Ok(sum[0])
    }
}

fn is_lost<T: std::fmt::Debug>(done: Result<T, DeviceError>) {
    match done {
        Err(DeviceError::Lost(why)) => assert!(why.contains("it stumbled"), "{why}"),
        done => panic!("{done:?} of a device that has dropped operations"),
    }
}

#[test]
fn a_device_that_dropped_operations_is_lost() {
    // The number of rows is not written, a graph not replayed, a launch not made.
    for (warm, graphs) in
        [(false, Graphs::default()), (true, Graphs::From(1)), (true, Graphs::From(9))]
    {
        let scene = Scene::new(graphs);
        if warm {
            scene.add().expect("the machine does not fail yet");
            scene.sum().expect("nor here");
        }
        scene.add().expect("it is taken, and waits");
        scene.stumble();
        assert_eq!(scene.sum(), Err(DeviceError::Failed("it stumbled".to_owned())));
        is_lost(scene.sum());
        is_lost(scene.add());
        let kernels = &scene.kernels;
        is_lost(kernels.write(scene.mats[0].buffer, 0, Data::F32(&[0.0])));
        is_lost(kernels.alloc(Element::F32, 1, "more").map(|Buffer(number)| number));
        is_lost(kernels.open_stage(&Limits::usual(1, 16)));
    }
}

#[test]
fn a_device_that_dropped_nothing_is_not() {
    let scene = Scene::new(Graphs::default());
    scene.add().expect("it is taken");
    assert_eq!(scene.sum(), Ok(2.0));
    scene.stumble();
    assert_eq!(scene.sum(), Err(DeviceError::Failed("it stumbled".to_owned())));
    assert_eq!(scene.sum(), Ok(2.0));
}
