//! Property tests: every generated input gets a response of the contract, and only genuine proofs are accepted.
//!
//! `PROPTEST_CASES` sets the number of cases of each test. Tests whose cases take longer run fewer of them. `just fuzz`
//! runs many cases and prints their numbers.

mod bodies;
mod events;
mod generators;
mod identifiers;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::support::harness::{Person, World};
use crate::support::invariants;

/// Number of requests after which the owner logs in again: reached long before the token expires, even on a slow
/// machine.
const REQUESTS_PER_SESSION: u32 = 500;

/// Runs `test` on generated cases, and prints their number. `cost` is the time of a case relative to a case of a pure
/// parser: the number of cases is divided by it.
fn fuzz<S: Strategy>(target: &str, cost: u32, strategy: &S, test: impl Fn(S::Value)) {
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    config.cases = config.cases.div_ceil(cost);
    let cases = Cell::new(0_u64);
    let result = TestRunner::new(config).run(strategy, |value| {
        cases.set(cases.get() + 1);
        test(value);
        Ok(())
    });
    println!("\nfuzz {target}: {} cases", cases.get());
    if let Err(failure) = result {
        panic!("{target}: {failure}");
    }
}

/// A world, and the runtime for its requests.
struct Setup {
    runtime: Runtime,
    world: World,
}

impl Setup {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let world = runtime.block_on(World::new());
        Self { runtime, world }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn owner(&self) -> Owner<'_> {
        Owner {
            setup: self,
            person: self.run(self.world.owner("owner")).into(),
            requests: Cell::new(0),
        }
    }

    /// Checks the table that the generated cases have changed.
    fn check_invariants(&self) {
        self.run(invariants::check(&self.world));
    }
}

/// An owner who sends many requests: each from a new IP address, and with a new login from time to time.
struct Owner<'w> {
    setup: &'w Setup,
    person: std::cell::RefCell<Person<'w>>,
    requests: Cell<u32>,
}

impl<'w> Owner<'w> {
    /// The owner, ready for one more request.
    fn person(&self) -> Person<'w> {
        let requests = self.requests.get() + 1;
        self.requests.set(requests);
        let mut person = self.person.borrow_mut();
        person.address = IpAddr::from(Ipv4Addr::from(0x0b00_0000 + requests));
        if requests.is_multiple_of(REQUESTS_PER_SESSION) {
            // Logins are limited per minute.
            self.setup.world.pass(60);
            self.setup.run(person.log_in());
        }
        person.clone()
    }
}

/// Guards against a runner that never fails.
#[test]
fn a_property_test_fails_on_a_rare_counterexample() {
    let result =
        std::panic::catch_unwind(|| fuzz("a rule that breaks", 1, &any::<u8>(), |number| assert!(number < 250)));
    assert!(result.is_err());
}
