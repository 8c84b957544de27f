//! Several processes as one: here threads, each with a trainer of its own, and mail between them.
//! (With MPI: `.ci/mpi`.)

use cld_sgm::internal::evaluate::{Trained, bits, draw};
use cld_sgm::sampler::compare::Comparison;
use cld_sgm::sampler::entry;
use cld_sgm::sampler::grid::Spacing;
use cld_sgm::team::{Post, Team, Traffic};
use cld_sgm::train::follow;
use cld_sgm::train::{Config, State, Trainer, TrainingRun};
use cld_sgm::{Error, Result};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    traffic: Cell<Traffic>,
    polls: Arc<AtomicU64>,
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
            traffic: Cell::default(),
            polls: Arc::default(),
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

    fn exchange<'a>(
        &self,
        receive: Vec<(usize, &'a mut [f32])>,
        work: &mut dyn FnMut(&mut dyn Post<'a>),
    ) -> Result<()> {
        work(&mut Mailbox(self));
        self.hub.barrier.wait();
        for (from, to) in receive {
            let mut mail = self.hub.mail.lock().unwrap();
            let letter = mail.get_mut(&(from, self.rank)).unwrap().pop_front();
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

    fn traffic(&self) -> Traffic {
        self.traffic.get()
    }
}

/// What a mate posts.
struct Mailbox<'m>(&'m Mate);

impl<'a> Post<'a> for Mailbox<'_> {
    fn send(&mut self, to: usize, what: &'a [f32]) {
        let mut mail = self.0.hub.mail.lock().unwrap();
        let letters = mail.entry((self.0.rank, to)).or_default();
        letters.push_back(what.to_vec());
        let mut traffic = self.0.traffic.get();
        traffic.sent += 4 * what.len() as u64;
        self.0.traffic.set(traffic);
    }

    fn poll(&mut self) {
        self.0.polls.fetch_add(1, Ordering::Relaxed);
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
                stop.store(at, Ordering::Relaxed);
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

/// Catches gradients that wait until all parts are computed, parts that are sent twice or to
/// oneself, and a formula of the docs that is not what goes over the cable: after the first of four
/// parts something is on its way while the next ones are computed, and a step of `n` processes
/// sends `4 P (B (n - 1)/n^2 + (n - 1)/n)` bytes, but for stretches of whole blocks.
#[test]
fn what_is_finished_is_on_its_way() {
    let c = &config(32);
    std::thread::scope(|s| {
        for mate in Mate::all(2) {
            s.spawn(move || {
                let polls = mate.polls.clone();
                let mut t = trainer(c, None, 1).with(Box::new(mate)).unwrap();
                t.step().unwrap();
                let layers = polls.load(Ordering::Relaxed);
                assert!(
                    layers >= 4 * 5,
                    "four parts of several layers: {layers} calls"
                );
                let p = t.state().p.len() as f64;
                let sent = t.team().unwrap().traffic().sent as f64;
                let formula = 4.0 * p * (8.0 / 4.0 + 1.0 / 2.0);
                // half a block of 2^14 numbers, of at most three
                let slack = 4.0 * 16384.0 * 3.0;
                assert!((sent - formula).abs() < slack, "{sent} for {formula}");
            });
        }
    });
}

/// Catches samples, likelihoods and comparisons that depend on the number of processes: rows that
/// are drawn twice or by nobody, a block's own steps or probes lost, figures in another order. Of a
/// sampler on a grid and of one with its own steps; bit for bit.
#[test]
fn what_is_shared_out_is_what_one_gives() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut trained = TrainingRun::start(config(32), &run, 1, false).unwrap();
    trained.go(&AtomicBool::new(false), &mut |_, _| ()).unwrap();
    let trained = Trained::read(&run, false).unwrap();
    let d = cld_sgm::Diffusion::paper().unwrap();
    let mixture = (cld_sgm::data::entry("diamond").unwrap().build)().unwrap();
    let exact = cld_sgm::score::MixtureScore::new(d.clone(), mixture.clone());
    let task = |score, n| draw::Task {
        diffusion: &d,
        score,
        spacing: "quadratic",
        eps: 1e-3,
        denoise: true,
        n,
        dim: 2,
        seed: 5,
    };
    let budget = Some(draw::Budget::Steps(4));
    let jobs = [
        task(&exact, 101).by("sscs", budget, None).unwrap(),
        task(&exact, 1).by("em", budget, None).unwrap(),
        task(&trained.model, 37).by("em", budget, None).unwrap(),
        task(&exact, 2051)
            .by("gotta-go-fast", None, Some(0.3))
            .unwrap(),
    ];
    let bits = bits::Job::new(
        &trained,
        bits::Task {
            part: bits::Part::HeldOut,
            n: Some(150),
            tolerance: 1.0,
            eps: 1e-2,
            draws: 2,
            probes: cld_sgm::train::model::Probes::Exact,
            seed: 3,
        },
    )
    .unwrap();
    let comparison = Comparison {
        samplers: ["em", "sscs", "flow-dp5"]
            .map(|s| entry(s).unwrap())
            .to_vec(),
        grids: vec![
            ("linear".into(), Spacing::Linear),
            ("quadratic".into(), Spacing::Quadratic),
        ],
        budgets: vec![2],
        n: 1024,
        eps: 1e-3,
        denoise: false,
        seed: 1,
    };
    let alone: Vec<_> = jobs.iter().map(|j| j.run(&|_, _| ()).unwrap()).collect();
    let alone_bits = bits.run(&mut |_, _| ()).unwrap();
    let found = comparison
        .on_mixture(&d, &mixture, None, &|_, _| ())
        .unwrap();
    let exact_law = comparison
        .on_gaussian(&d, 0.0, 0.7, None, &|_, _| ())
        .unwrap();
    assert!(found.rows.len() == 5 && alone[3].times.contains("rejected"));
    for size in 2..=3 {
        std::thread::scope(|s| {
            for mate in Mate::all(size) {
                let (jobs, alone, bits, alone_bits) = (&jobs, &alone, &bits, &alone_bits);
                let (comparison, found, exact_law) = (&comparison, &found, &exact_law);
                let (d, mixture) = (&d, &mixture);
                s.spawn(move || {
                    let team = Some(&mate as &dyn Team);
                    for (job, one) in jobs.iter().zip(alone) {
                        let all = job.run_by(team, &|_, _| ()).unwrap();
                        assert_eq!(all.is_some(), mate.rank == 0);
                        if let Some(all) = all {
                            assert!(all.samples == one.samples, "{size}: {}", one.sampler);
                            assert_eq!((all.nfe, &all.times), (one.nfe, &one.times));
                        }
                    }
                    let b = bits.run_by(team, &mut |_, _| ()).unwrap();
                    assert_eq!(
                        (b.n, b.plain, b.weighted, b.own, b.nfe),
                        (
                            alone_bits.n,
                            alone_bits.plain,
                            alone_bits.weighted,
                            alone_bits.own,
                            alone_bits.nfe
                        )
                    );
                    assert!(b.plain.value.is_finite() && b.plain.error > 0.0);
                    let tell = &|_: usize, _: usize| ();
                    assert!(comparison.on_mixture(d, mixture, team, tell).unwrap() == *found);
                    assert!(comparison.on_gaussian(d, 0.0, 0.7, team, tell).unwrap() == *exact_law);
                });
            }
        });
    }
}
