//! Several processes as one: here threads, each with a trainer of its own, and mail between them.
//! (With MPI: `.ci/mpi`.)

use cld_sgm::train::follow;
use cld_sgm::train::team::Team;
use cld_sgm::train::{Config, State, Trainer, TrainingRun};
use cld_sgm::{Error, Result};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Barrier, Mutex};

type Mail = BTreeMap<(usize, usize), VecDeque<Vec<f32>>>;

struct Hub {
    barrier: Barrier,
    bytes: Mutex<Vec<u8>>,
    numbers: Mutex<Vec<Vec<f64>>>,
    mail: Mutex<Mail>,
}

struct Mate {
    rank: usize,
    size: usize,
    hub: Arc<Hub>,
}

impl Mate {
    fn all(size: usize) -> Vec<Mate> {
        let hub = Arc::new(Hub {
            barrier: Barrier::new(size),
            bytes: Mutex::default(),
            numbers: Mutex::new(vec![vec![]; size]),
            mail: Mutex::default(),
        });
        let mate = |rank| Mate {
            rank,
            size,
            hub: hub.clone(),
        };
        (0..size).map(mate).collect()
    }
}

impl Team for Mate {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<()> {
        if self.rank == 0 {
            self.hub.bytes.lock().unwrap().clone_from(bytes);
        }
        self.hub.barrier.wait();
        bytes.clone_from(&self.hub.bytes.lock().unwrap());
        self.hub.barrier.wait();
        Ok(())
    }

    fn gather(&self, own: &[f64]) -> Result<Vec<Vec<f64>>> {
        self.hub.numbers.lock().unwrap()[self.rank] = own.to_vec();
        self.hub.barrier.wait();
        let all = self.hub.numbers.lock().unwrap().clone();
        self.hub.barrier.wait();
        Ok(all)
    }

    /// By the numbers of the bytes.
    fn collect(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let numbers: Vec<f64> = own.iter().map(|b| f64::from(*b)).collect();
        let all = self.gather(&numbers)?;
        let bytes = |n: &Vec<f64>| n.iter().map(|x| *x as u8).collect();
        Ok(if self.rank == 0 {
            all.iter().map(bytes).collect()
        } else {
            vec![]
        })
    }

    fn exchange(
        &self,
        send: &[(usize, &[f32])],
        receive: &mut [(usize, &mut [f32])],
    ) -> Result<()> {
        for (to, what) in send {
            let mut mail = self.hub.mail.lock().unwrap();
            let letters = mail.entry((self.rank, *to)).or_default();
            letters.push_back(what.to_vec());
        }
        self.hub.barrier.wait();
        for (from, to) in receive {
            let mut mail = self.hub.mail.lock().unwrap();
            let letter = mail.get_mut(&(*from, self.rank)).unwrap().pop_front();
            to.copy_from_slice(&letter.unwrap());
        }
        self.hub.barrier.wait();
        assert!(
            self.hub
                .mail
                .lock()
                .unwrap()
                .values()
                .all(VecDeque::is_empty)
        );
        self.hub.barrier.wait();
        Ok(())
    }
}

/// More parameters than one stretch, so that ranks have stretches of their own.
fn config(batch: usize) -> Config {
    let text = format!(
        "steps = 6\nbatch = {batch}\nlog_every = 2\n[data]\nname = \"swissroll\"\n[model]\nkind = \"resmlp\"\nwidth = 128\ndepth = 2\n[adam]\nwarm_up = 2\nclip = 0.5"
    );
    let c = Config::from_toml(&text, "test").unwrap();
    let data = c.load().unwrap();
    c.filled(&data).unwrap()
}

fn trainer(c: &Config, state: Option<State>, threads: usize) -> Trainer {
    let plan = c.plan(c.load().unwrap().source).unwrap();
    let state = state.unwrap_or_else(|| State::new(&plan.graph, c.seed));
    Trainer::new(plan, state, threads).unwrap()
}

/// Catches a sum in another order than that of the parts, a part or a stretch that nobody has, and
/// weights that drift apart: the whole state after six steps, bit for bit, for batches of eight
/// parts and of seven, one to four processes, one and two threads each.
#[test]
fn the_bits_do_not_depend_on_the_number_of_processes() {
    for batch in [32, 20] {
        let c = config(batch);
        let mut alone = trainer(&c, None, 1);
        let reports: Vec<_> = (0..6).map(|_| alone.step().unwrap()).collect();
        for (size, threads) in [(1, 1), (2, 1), (2, 2), (3, 1), (4, 2), (7, 1)] {
            let (c, reports, state) = (&c, &reports, alone.state());
            std::thread::scope(|s| {
                for mate in Mate::all(size) {
                    s.spawn(move || {
                        let mut t = trainer(c, None, threads).with(Box::new(mate)).unwrap();
                        for report in reports {
                            assert_eq!(t.step().unwrap(), *report);
                        }
                        assert!(t.state() == state, "{size} processes, {threads} threads");
                    });
                }
            });
        }
    }
}

/// Catches a run in a folder that differs when others follow it, or leaves them waiting: stopped
/// in the middle, taken up by another number of processes, and done.
#[test]
fn a_run_is_led_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let c = config(32);
    let (one, many) = (folder.path().join("one"), folder.path().join("many"));
    let never = AtomicBool::new(false);
    let mut run = TrainingRun::start(c.clone(), &one, 1, false).unwrap();
    run.go(&never, &mut |_, _| ()).unwrap();
    let lead = |mut run: TrainingRun, size: usize, last: u64| {
        std::thread::scope(|s| {
            let mut mates = Mate::all(size);
            for mate in mates.drain(1..) {
                s.spawn(move || follow(Box::new(mate), 1).unwrap());
            }
            run = run.lead(Box::new(mates.pop().unwrap())).unwrap();
            let stop = AtomicBool::new(false);
            run.go(&stop, &mut |report, _| {
                let at = report.step >= last;
                stop.store(at, std::sync::atomic::Ordering::Relaxed);
            })
            .unwrap();
        });
    };
    lead(TrainingRun::start(c, &many, 1, false).unwrap(), 3, 3);
    let limits = cld_sgm::internal::files::Limits::default();
    let again = TrainingRun::resume(&many, |_| (), 2, None, false, &limits).unwrap();
    assert_eq!(again.state().step, 3);
    lead(again, 2, u64::MAX);
    let bytes = |f: &std::path::Path| std::fs::read(f.join("checkpoint.safetensors")).unwrap();
    assert!(bytes(&one) == bytes(&many));
}

/// Catches a process that waits for ever when another one's loss is not a number, and weights that
/// have changed then; more processes than parts.
#[test]
fn what_is_wrong_is_wrong_for_all() {
    let c = config(32);
    let mut broken = trainer(&c, None, 1).state().clone();
    broken.p.fill(f32::NAN);
    let (c, broken) = (&c, &broken);
    std::thread::scope(|s| {
        for mate in Mate::all(3) {
            s.spawn(move || {
                let state = broken.clone();
                let mut t = trainer(c, Some(state), 1).with(Box::new(mate)).unwrap();
                assert!(matches!(t.step(), Err(Error::NonFinite { step: 1, .. })));
                assert_eq!(t.state().step, 0);
                assert!(t.state().m.iter().all(|m| *m == 0.0));
            });
        }
    });
    let mate = Mate::all(9).pop().unwrap();
    let e = trainer(c, None, 1).with(Box::new(mate)).err().unwrap();
    assert!(e.to_string().contains("at most 8"), "{e}");
}
