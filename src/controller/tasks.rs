//! Tasks that run as long as the process does. One that ends, by a panic or otherwise, ends the process: a controller that
//! goes on without one of its watches or workers would look well and be blind.

use std::any::Any;
use std::collections::HashMap;
use std::future::{Future, pending};

use tokio::task::{Id, JoinSet};

/// The tasks, each with its name. They end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, String>,
}

/// One of them ended.
#[derive(Debug, thiserror::Error)]
#[error("{task} {how}: report this; the process ends, so that whoever started it starts it anew")]
pub struct TaskEnded {
    task: String,
    how: String,
}

impl Tasks {
    /// Starts one.
    pub(super) fn spawn(&mut self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Waits until one ends. Cancel safe.
    pub(super) async fn first_end(&mut self) -> TaskEnded {
        let Some(ended) = self.running.join_next_with_id().await else {
            return pending().await;
        };
        let (id, how) = match ended {
            Ok((id, ())) => (id, String::from("ended by itself")),
            Err(error) => {
                let id = error.id();
                let how = match error.try_into_panic() {
                    Ok(panic) => format!("panicked: {}", words_of(&*panic)),
                    Err(error) => error.to_string(),
                };
                (id, how)
            }
        };
        let task = self.names.remove(&id).unwrap_or_default();
        TaskEnded { task, how }
    }

    /// Waits until all have ended, however they do.
    pub(super) async fn all_end(mut self) {
        while self.running.join_next().await.is_some() {}
    }

    /// Ends them where they stand.
    pub(super) async fn shut_down(mut self) {
        self.running.shutdown().await;
    }
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_with_the_name_of_its_task() {
        let mut tasks = Tasks::default();
        tasks.spawn("the watch of policies", pending());
        tasks.spawn("worker 7", async { panic!("at {}", "once") });
        let ended = tasks.first_end().await.to_string();
        assert!(ended.starts_with("worker 7 panicked: at once: "), "{ended}");
    }

    #[tokio::test]
    async fn an_end_without_a_panic_is_told_too() {
        let mut tasks = Tasks::default();
        tasks.spawn("the watch of policies", async {});
        let ended = tasks.first_end().await.to_string();
        assert!(ended.starts_with("the watch of policies ended by itself: "), "{ended}");
    }

    #[tokio::test(start_paused = true)]
    async fn while_all_run_nothing_is_told() {
        let mut tasks = Tasks::default();
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, tasks.first_end()).await.is_err(), "no task");
        tasks.spawn("for ever", pending());
        assert!(tokio::time::timeout(hour, tasks.first_end()).await.is_err(), "one task");
    }

    #[tokio::test]
    async fn a_panic_at_the_end_keeps_nobody_from_ending() {
        let mut tasks = Tasks::default();
        tasks.spawn("worker 1", async { panic!("late") });
        tasks.spawn("worker 2", async {});
        tasks.all_end().await;
    }
}
