//! Breadth first, by hand: every state that can be reached, the shortest way to what must never be, and whether the
//! controller comes to rest from everywhere.
//!
//! Not by the crate stateright: coming to rest needs fairness (a watch that is never read lets a release be asked for
//! again and again), which its `eventually` does not know.

use std::collections::{HashMap, VecDeque};

use crate::catalogue::Catalogue;
use crate::cluster::State;
use crate::judge;
use crate::steps::{Actor, Step, enabled, make};
use crate::watching::drop_stale_news;

/// What an exploration found.
pub struct Report {
    pub states: usize,
    pub steps: usize,
    /// States in which nothing is left to be done.
    pub at_rest: usize,
    /// The longest of the shortest ways to a state.
    pub depth: u16,
    pub violation: Option<Violation>,
}

pub struct Violation {
    pub fault: String,
    pub trace: Vec<Step>,
}

impl Violation {
    /// The fault and the shortest way to it.
    pub fn in_words(&self) -> String {
        let mut words = format!("{}, after", self.fault);
        for (index, step) in self.trace.iter().enumerate() {
            words.push_str(&format!("\n  {:2} {step:?}", index + 1));
        }
        words
    }
}

struct Node {
    reached_from: u32,
    by: Step,
    depth: u16,
    /// Who can make a step here.
    enabled: u8,
}

struct Edge {
    to: u32,
    actor: u8,
}

/// The graph as far as it is known. Steps from outside are left out of the edges: nobody has to make them.
struct Graph {
    numbers: HashMap<Box<[u8]>, u32>,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Where the edges of each node begin.
    starts: Vec<u32>,
    steps: usize,
}

/// Explores a scenario. `at_most` bounds the states, so that a mistake in the model ends.
pub fn explore(catalogue: &mut Catalogue, at_most: usize) -> Report {
    let mut graph = Graph {
        numbers: HashMap::new(),
        nodes: Vec::new(),
        edges: Vec::new(),
        starts: Vec::new(),
        steps: 0,
    };
    let mut at_rest = 0;
    let found = reach_all(&mut graph, catalogue, at_most, &mut at_rest);
    let violation = found.err().or_else(|| graph.endless_run());
    Report {
        states: graph.nodes.len(),
        steps: graph.steps,
        at_rest,
        depth: graph.nodes.iter().map(|node| node.depth).max().unwrap_or_default(),
        violation,
    }
}

fn reach_all(
    graph: &mut Graph,
    catalogue: &mut Catalogue,
    at_most: usize,
    at_rest: &mut usize,
) -> Result<(), Violation> {
    let first = first_state(catalogue);
    let mut waiting = VecDeque::new();
    graph.add(&first, 0, Step::Crash);
    waiting.push_back(first);
    while let Some(state) = waiting.pop_front() {
        let number = graph.starts.len() as u32;
        graph.starts.push(graph.edges.len() as u32);
        let steps = enabled(&state, catalogue);
        let mut actors = 0;
        for step in steps {
            graph.steps += 1;
            let mut next = state.clone();
            let broken = make(&mut next, step, catalogue).err();
            drop_stale_news(&mut next);
            next.canonicalise();
            let (to, is_new) = graph.add(&next, number, step);
            if let Some(fault) = broken {
                return Err(graph.violation(fault, number, Some(step)));
            }
            if is_new {
                waiting.push_back(next);
            }
            if step.actor() != Actor::Outside {
                actors |= step.actor().bit();
                let actor = step.actor().bit();
                graph.edges.push(Edge { to, actor });
            }
        }
        graph.nodes[number as usize].enabled = actors;
        if actors == 0 {
            *at_rest += 1;
            judge::rest(&state, catalogue).map_err(|fault| graph.violation(fault, number, None))?;
        }
        assert!(graph.nodes.len() <= at_most, "more than {at_most} states");
    }
    Ok(())
}

/// The controller starts. Where the scenario begins at rest, it has done its work already.
fn first_state(catalogue: &mut Catalogue) -> State {
    let scenario = &catalogue.scenario;
    let (starts_at_rest, left) = (scenario.starts_at_rest, scenario.left);
    let mut state = State::new(scenario.first_tiers, scenario.first_labels, Default::default());
    while let (true, Some(step)) = (starts_at_rest, enabled(&state, catalogue).first().copied()) {
        make(&mut state, step, catalogue).expect("nothing is wrong at the start");
        drop_stale_news(&mut state);
        state.canonicalise();
    }
    state.left = left;
    state.canonicalise();
    state
}

impl Graph {
    fn add(&mut self, state: &State, reached_from: u32, by: Step) -> (u32, bool) {
        let next = self.nodes.len() as u32;
        let number = *self.numbers.entry(state.encoded()).or_insert(next);
        if number == next {
            let depth = match next {
                0 => 0,
                _ => self.nodes[reached_from as usize].depth + 1,
            };
            self.nodes.push(Node {
                reached_from,
                by,
                depth,
                enabled: 0,
            });
        }
        (number, number == next)
    }

    fn violation(&self, fault: String, mut number: u32, last: Option<Step>) -> Violation {
        let mut trace: Vec<_> = last.into_iter().collect();
        while number != 0 {
            let node = &self.nodes[number as usize];
            trace.push(node.by);
            number = node.reached_from;
        }
        trace.reverse();
        Violation { fault, trace }
    }

    /// A run that never comes to rest although everybody who can go on does so in the end. Where the run goes round in a
    /// strongly connected part of the graph, somebody who can make a step in all of it, and whose every step leaves it,
    /// makes that step in the end.
    fn endless_run(&self) -> Option<Violation> {
        let component = &self.components();
        let mut members: HashMap<u32, Vec<u32>> = HashMap::new();
        for (node, component) in component.iter().enumerate() {
            members.entry(*component).or_default().push(node as u32);
        }
        let inner = |node: u32| {
            let edges = self.edges_of(node).iter();
            edges.filter(move |edge| component[edge.to as usize] == component[node as usize])
        };
        let mut endless: Vec<_> = members
            .into_values()
            .filter(|nodes| {
                let stays = nodes
                    .iter()
                    .copied()
                    .flat_map(&inner)
                    .fold(0, |actors, edge| actors | edge.actor);
                let always = nodes
                    .iter()
                    .fold(u8::MAX, |actors, node| actors & self.nodes[*node as usize].enabled);
                stays != 0 && always & !stays == 0
            })
            .collect();
        endless.sort_by_key(|nodes| nodes[0]);
        let nodes = endless.first()?;
        let fault = format!(
            "invariant 4: no rest, though everybody goes on ({} states in turn)",
            nodes.len()
        );
        Some(self.violation(fault, nodes[0], None))
    }

    fn edges_of(&self, node: u32) -> &[Edge] {
        let end = self
            .starts
            .get(node as usize + 1)
            .map_or(self.edges.len(), |end| *end as usize);
        &self.edges[self.starts[node as usize] as usize..end]
    }

    /// The strongly connected component of each node (Tarjan, without recursion).
    fn components(&self) -> Vec<u32> {
        const UNSEEN: u32 = u32::MAX;
        let count = self.nodes.len();
        let (mut index, mut low) = (vec![UNSEEN; count], vec![0; count]);
        let mut component = vec![UNSEEN; count];
        let (mut stack, mut open, mut next) = (Vec::new(), Vec::<(u32, usize)>::new(), 0);
        for root in 0..count as u32 {
            if index[root as usize] != UNSEEN {
                continue;
            }
            open.push((root, 0));
            while let Some((node, edge)) = open.pop() {
                let at = node as usize;
                if edge == 0 {
                    (index[at], low[at]) = (next, next);
                    next += 1;
                    stack.push(node);
                }
                if let Some(Edge { to, .. }) = self.edges_of(node).get(edge) {
                    open.push((node, edge + 1));
                    if index[*to as usize] == UNSEEN {
                        open.push((*to, 0));
                    } else if component[*to as usize] == UNSEEN {
                        low[at] = low[at].min(index[*to as usize]);
                    }
                    continue;
                }
                if low[at] == index[at] {
                    while let Some(member) = stack.pop() {
                        component[member as usize] = node;
                        if member == node {
                            break;
                        }
                    }
                }
                if let Some((parent, _)) = open.last() {
                    low[*parent as usize] = low[*parent as usize].min(low[at]);
                }
            }
        }
        component
    }
}
