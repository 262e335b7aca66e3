//! What the file of an operation talks to: it opens the backend, checks answers and keeps count.

use super::compare::{Class, compare};
use super::purity::{self, Rows};
use super::sheet::Sheet;
use echo_core::DeviceError;
use echo_core::port::Kernels;
use std::fmt;

/// Opens the backend under test anew, with no memory taken.
pub type Open<'a> = &'a dyn Fn() -> Box<dyn Kernels>;

/// What a run of the suite found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Checks made, wrong variants and purity included.
    pub checks: usize,
    /// One line for each that failed.
    pub failures: Vec<String>,
}

impl Report {
    /// Panics with all failures if there is one, and if nothing was checked.
    pub fn assert_passed(&self) {
        assert!(self.checks > 0, "no check was made");
        assert!(self.failures.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} checks, {} failed", self.checks, self.failures.len())?;
        for failure in &self.failures {
            writeln!(f, "  {failure}")?;
        }
        Ok(())
    }
}

/// Prepares an operation on one backend: takes memory once, then answers for any choice of rows.
pub(super) type Prepare<'a> = &'a dyn for<'k> Fn(&'k dyn Kernels) -> Result<Rows<'k>, DeviceError>;

/// The checks of one operation.
pub(super) struct Suite<'a> {
    stem: &'static str,
    configurations: &'a [Open<'a>],
    report: &'a mut Report,
}

impl<'a> Suite<'a> {
    pub(super) fn new(
        stem: &'static str,
        configurations: &'a [Open<'a>],
        report: &'a mut Report,
    ) -> Self {
        Suite { stem, configurations, report }
    }

    /// The backend as its first configuration opens it.
    pub(super) fn open(&self) -> Box<dyn Kernels> {
        (self.configurations[0])()
    }

    /// Checks a written matrix, and that the check rejects what a bug would answer. `wrong` is
    /// `None` only where nothing is written.
    pub(super) fn case(
        &mut self,
        name: &str,
        class: Class,
        actual: Result<Vec<f32>, DeviceError>,
        expected: &Sheet,
        wrong: Option<&Sheet>,
    ) {
        let inside = |i| expected.holds(i);
        self.buffer(
            name,
            class,
            actual,
            &expected.data,
            &inside,
            wrong.map(|sheet| &sheet.data[..]),
        );
    }

    /// As [`Suite::case`] for any buffer; `inside` tells what is written.
    pub(super) fn buffer(
        &mut self,
        name: &str,
        class: Class,
        actual: Result<Vec<f32>, DeviceError>,
        expected: &[f32],
        inside: &dyn Fn(usize) -> bool,
        wrong: Option<&[f32]>,
    ) {
        let actual = match actual {
            Ok(actual) => actual,
            Err(error) => return self.verdict(name, Err(error.to_string())),
        };
        self.verdict(name, compare(&actual, expected, inside, class));
        if let Some(wrong) = wrong {
            let rejected = compare(&actual, wrong, inside, class).is_err();
            let found = rejected.then_some(());
            self.verdict(name, found.ok_or_else(|| "the wrong variant passes".to_owned()));
        }
    }

    /// Counts one check.
    pub(super) fn verdict(&mut self, name: &str, found: Result<(), String>) {
        self.report.checks += 1;
        if let Err(why) = found {
            self.report.failures.push(format!("{} {name}: {why}", self.stem));
        }
    }

    /// Checks that the bits of a row do not depend on the choice of rows, in every configuration.
    /// `prepare` answers for any of `n` rows.
    pub(super) fn pure(&mut self, name: &str, n: usize, prepare: Prepare<'_>) {
        let mut known = None;
        for (c, open) in self.configurations.iter().enumerate() {
            let kernels = open();
            let found = match prepare(&*kernels) {
                Ok(mut rows) => purity::check(n, &mut *rows, &mut known),
                Err(error) => Err(error.to_string()),
            };
            self.verdict(&format!("{name}, purity in configuration {c}"), found);
        }
        let caught = purity::check(n, &mut *purity::split_by_rows(n), &mut None).is_err();
        let caught = caught.then_some(());
        self.verdict(
            name,
            caught.ok_or_else(|| "purity accepts sums split by the number of rows".to_owned()),
        );
    }
}
