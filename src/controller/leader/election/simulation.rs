//! Electors with clocks of their own, a server that keeps versions, and a network and a scheduler that do their worst:
//! never do two believe to lead at one true moment, and in the end one does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One in a hundred: a hundred times what a synchronised clock is corrected by.
const FASTEST: u64 = 101;
const SLOWEST: u64 = 99;
const ELECTORS: usize = 3;
const NO_TROUBLE: [Vec<Fate>; ELECTORS] = [const { Vec::new() }; ELECTORS];

/// A fate for each request and for the time around it, in true milliseconds.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// Until the process does what was decided: it is frozen, or has no processor.
    before: u64,
    /// Until the server does it.
    request: u64,
    /// Until the process sees the answer.
    answer: u64,
    loss: Loss,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Loss {
    Nothing,
    /// The process gives up waiting. What it asked for is done later, or never.
    Answer,
    Request,
    /// It is asked to end, and releases.
    Terminated,
    Killed,
}

#[derive(Clone, Debug)]
struct Machine {
    /// Hundredths of a true millisecond that a millisecond of its clock takes.
    rate: u64,
    offset: u64,
    election: Election,
    identity: String,
    restarts: u32,
}

impl Machine {
    fn local(&self, time: u64) -> Moment {
        Moment::default().after(Duration::from_micros(self.offset + time * self.rate * 10))
    }

    /// Whether it would let a write through at this true moment.
    fn leads(&self, time: u64) -> bool {
        self.election.claim_ends().is_some_and(|ends| self.local(time) < ends)
    }

    fn restart(&mut self, number: usize) {
        self.restarts += 1;
        self.identity = format!("{number}-{}", self.restarts);
        self.election = Election::new(self.identity.clone(), settings());
    }
}

fn settings() -> LeaseSettings {
    let [lease, renew, retry] = [3000, 2000, 500].map(Duration::from_millis);
    LeaseSettings::new(lease, renew, retry).unwrap()
}

/// What a machine sees or does at a true moment; sorted by it.
#[derive(Clone, Debug)]
enum Event {
    Wake,
    Do(Step),
    Arrive {
        write: Option<Option<String>>,
        holder: String,
        sent: Moment,
        answer: Option<u64>,
    },
    Read {
        found: Option<LeaseRecord>,
    },
    Written {
        stored: LeaseRecord,
        sent: Moment,
    },
    Refused,
    Failed {
        sent: Moment,
    },
    Restart,
}

#[derive(Default)]
struct World {
    now: u64,
    sequence: u64,
    /// By time, then by the order in which they were scheduled. With the run of the process that they are for.
    events: BTreeMap<(u64, u64), (usize, u32, Event)>,
    machines: Vec<Machine>,
    stored: Option<LeaseRecord>,
    versions: u64,
    /// Who led, in order.
    leaders: Vec<String>,
}

impl World {
    fn schedule(&mut self, number: usize, after: u64, event: Event) {
        self.sequence += 1;
        let run = self.machines[number].restarts;
        self.events
            .insert((self.now + after, self.sequence), (number, run, event));
    }

    /// A PUT over a version, or a POST where there is none. What it was for does not matter to the server.
    fn store(&mut self, over: Option<&String>, holder: &str) -> Option<LeaseRecord> {
        if self.stored.as_ref().map(|stored| &stored.version) != over {
            return None;
        }
        self.versions += 1;
        self.stored = Some(LeaseRecord {
            version: self.versions.to_string(),
            holder: holder.into(),
            duration: settings().lease_duration(),
        });
        self.stored.clone()
    }

    fn version_seen_by(&self, number: usize) -> Option<String> {
        let election = &self.machines[number].election;
        let (record, _) = election.seen.as_ref().filter(|_| !election.absent)?;
        Some(record.version.clone())
    }

    fn handle(&mut self, number: usize, event: Event, mut fate: impl FnMut() -> Fate) {
        let local = self.machines[number].local(self.now);
        match event {
            Event::Wake => {
                let fate = fate();
                match self.machines[number].election.decide(local) {
                    Step::WaitUntil(moment) => {
                        let wait = u64::try_from(moment.since(local).as_millis()).unwrap() + 1;
                        self.schedule(number, wait + fate.before / 10, Event::Wake);
                    }
                    Step::Resign => self.schedule(number, fate.before, Event::Restart),
                    _ if fate.loss == Loss::Terminated => self.release(number, fate),
                    _ if fate.loss == Loss::Killed => self.schedule(number, fate.before, Event::Restart),
                    step => self.schedule(number, fate.before, Event::Do(step)),
                }
            }
            Event::Do(step) => self.send(number, step, fate()),
            Event::Arrive {
                write,
                holder,
                sent,
                answer,
            } => {
                let result = match write {
                    None => Event::Read {
                        found: self.stored.clone(),
                    },
                    Some(over) => match self.store(over.as_ref(), &holder) {
                        Some(stored) => Event::Written { stored, sent },
                        None => Event::Refused,
                    },
                };
                if let Some(answer) = answer {
                    self.schedule(number, answer, result);
                }
            }
            Event::Restart => {
                self.machines[number].restart(number);
                self.schedule(number, 0, Event::Wake);
            }
            answer => {
                let election = &mut self.machines[number].election;
                match answer {
                    Event::Read { found } => election.read(found, local),
                    Event::Written { stored, sent } => election.written(stored, sent, local),
                    Event::Refused => election.refused(),
                    Event::Failed { sent } => election.failed(sent),
                    _ => unreachable!(),
                }
                self.schedule(number, 0, Event::Wake);
            }
        }
    }

    fn send(&mut self, number: usize, step: Step, fate: Fate) {
        let sent = self.machines[number].local(self.now);
        let write = match step {
            Step::Read => None,
            Step::Create => Some(None),
            _ => Some(self.version_seen_by(number)),
        };
        let holder = self.machines[number].identity.clone();
        let answer = (fate.loss == Loss::Nothing).then_some(fate.answer);
        if fate.loss != Loss::Request {
            // However late: it may be long after the process gave it up, or ended.
            self.schedule(
                number,
                fate.request,
                Event::Arrive {
                    write,
                    holder,
                    sent,
                    answer,
                },
            );
        }
        if fate.loss != Loss::Nothing {
            self.schedule(number, fate.answer.min(1000), Event::Failed { sent });
        }
    }

    fn release(&mut self, number: usize, fate: Fate) {
        let sent = self.machines[number].local(self.now);
        if self.machines[number].election.resign() {
            let write = Some(self.version_seen_by(number));
            self.schedule(
                number,
                fate.request,
                Event::Arrive {
                    write,
                    holder: String::new(),
                    sent,
                    answer: None,
                },
            );
        }
        self.schedule(number, fate.before, Event::Restart);
    }

    fn check(&mut self) {
        let leading: Vec<&Machine> = self.machines.iter().filter(|machine| machine.leads(self.now)).collect();
        assert!(leading.len() <= 1, "at {}: {leading:#?} all lead", self.now);
        if let Some(leader) = leading.first()
            && self.leaders.last() != Some(&leader.identity)
        {
            self.leaders.push(leader.identity.clone());
        }
    }
}

/// Runs for so long, with these fates one after the other, for each elector, and good ones afterwards.
fn run(rates: &[u64; ELECTORS], offsets: &[u64; ELECTORS], fates: &[Vec<Fate>; ELECTORS], until: u64) -> World {
    const GOOD: Fate = Fate {
        before: 0,
        request: 5,
        answer: 5,
        loss: Loss::Nothing,
    };
    let mut world = World::default();
    for number in 0..ELECTORS {
        let mut machine = Machine {
            rate: rates[number],
            offset: offsets[number],
            election: Election::new(String::new(), settings()),
            identity: String::new(),
            restarts: 0,
        };
        machine.restart(number);
        world.machines.push(machine);
        world.schedule(number, 0, Event::Wake);
    }
    let mut fates = fates.each_ref().map(|fates| fates.iter().copied());
    while let Some(((time, _), (number, run, event))) = world.events.pop_first() {
        if time > until {
            break;
        }
        world.now = time;
        // A request is on its way whatever became of who sent it; everything else ends with the process.
        if run == world.machines[number].restarts || matches!(event, Event::Arrive { .. }) {
            let fate = || fates[number].next().unwrap_or(GOOD);
            world.handle(number, event, fate);
        }
        world.check();
    }
    world
}

/// Delays are short, about as long as the times of the election, or longer than all of them.
fn fate() -> impl Strategy<Value = Fate> {
    let delay = || prop_oneof![4 => 0_u64..50, 4 => 300_u64..2500, 1 => 1500_u64..8000];
    let loss = prop_oneof![
        8 => Just(Loss::Nothing),
        2 => Just(Loss::Answer),
        2 => Just(Loss::Request),
        1 => Just(Loss::Terminated),
        1 => Just(Loss::Killed),
    ];
    (delay(), delay(), delay(), loss).prop_map(|(before, request, answer, loss)| Fate {
        before,
        request,
        answer,
        loss,
    })
}

/// Nothing but an end now and then, so that leadership moves on.
fn mild_fate() -> impl Strategy<Value = Fate> {
    let loss = prop_oneof![40 => Just(Loss::Nothing), 1 => Just(Loss::Terminated), 1 => Just(Loss::Killed)];
    (0_u64..50, 0_u64..50, 0_u64..50, loss).prop_map(|(before, request, answer, loss)| Fate {
        before,
        request,
        answer,
        loss,
    })
}

/// One that has trouble beside one that has none is the dangerous pair.
fn fates() -> impl Strategy<Value = Vec<Fate>> {
    prop_oneof![
        prop::collection::vec(mild_fate(), 0..300),
        prop::collection::vec(fate(), 0..150)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn never_do_two_believe_to_lead(
        rates in prop::array::uniform3(SLOWEST..=FASTEST),
        offsets in prop::array::uniform3(0_u64..1 << 40),
        fates in prop::array::uniform3(fates()),
    ) {
        let world = run(&rates, &offsets, &fates, 120_000);
        // And once nothing goes wrong any more, one leads: at the latest a lease and a look after the last delay.
        let world = if world.leaders.is_empty() { run(&rates, &offsets, &fates, 400_000) } else { world };
        prop_assert!(!world.leaders.is_empty());
    }
}

#[test]
fn without_trouble_the_first_leads_and_nobody_else() {
    let world = run(&[100; ELECTORS], &[0; ELECTORS], &NO_TROUBLE, 60_000);
    assert_eq!(world.leaders.len(), 1, "{:?}", world.leaders);
}

/// The bound of a failover: from the death of a leader to the claim of another, a lease and a look.
#[test]
fn a_killed_leader_is_replaced_within_a_lease_and_a_look() {
    let bound = settings().lease_duration() + settings().retry_period() + Duration::from_millis(50);
    let bound = u64::try_from(bound.as_millis()).unwrap();
    for killed_at in (1000..4000).step_by(7) {
        let mut world = run(&[100; ELECTORS], &[0; ELECTORS], &NO_TROUBLE, killed_at);
        let leader = world
            .machines
            .iter()
            .position(|machine| machine.leads(killed_at))
            .unwrap();
        world.events.retain(|_, (number, _, _)| *number != leader);
        world.machines[leader].election.resign();
        let good = || Fate {
            before: 0,
            request: 5,
            answer: 5,
            loss: Loss::Nothing,
        };
        while let Some(((time, _), (number, _, event))) = world.events.pop_first() {
            world.now = time;
            world.handle(number, event, good);
            world.check();
            if world.leaders.len() > 1 {
                break;
            }
        }
        assert!(
            world.now <= killed_at + bound,
            "killed at {killed_at}, replaced at {}",
            world.now
        );
    }
}
