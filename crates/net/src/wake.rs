//! Tells one task which of its many sockets are ready, at a cost that does not depend on how many are not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// The sockets of one task. Each has a waker of its own; what it wakes is the task, which then asks who it was.
#[derive(Debug, Default)]
pub struct WakeSet {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    woken: Vec<Arc<Member>>,
    task: Option<Waker>,
}

#[derive(Debug)]
struct Member {
    key: u32,
    /// Already among the woken.
    listed: AtomicBool,
    shared: Arc<Shared>,
}

impl WakeSet {
    /// A waker that stands for `key`. A stale one, woken after its socket is gone, only causes a needless look.
    pub fn waker(&self, key: u32) -> Waker {
        Waker::from(Arc::new(Member { key, listed: AtomicBool::new(false), shared: self.shared.clone() }))
    }

    /// Hands the keys woken since the last call to `ready`, and sees to it that the task is woken for the next ones.
    pub fn drain(&mut self, context: &mut Context<'_>, mut ready: impl FnMut(u32)) {
        let woken = {
            let mut state = self.shared.lock();
            match &mut state.task {
                Some(task) => task.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            std::mem::take(&mut state.woken)
        };
        for member in woken {
            // From here on a new wake lists it again.
            member.listed.store(false, Ordering::Release);
            ready(member.key);
        }
    }
}

impl Shared {
    /// Nothing panics under this lock.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Member {
    fn wake(self: Arc<Self>) {
        if self.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = self.shared.clone();
        let mut state = shared.lock();
        state.woken.push(self);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct CountingTask(AtomicU32);

    impl Wake for CountingTask {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_woken_key_is_handed_out_once_and_the_task_is_woken() {
        let task = Arc::new(CountingTask::default());
        let waker = Waker::from(task.clone());
        let mut context = Context::from_waker(&waker);
        let mut set = WakeSet::default();
        let mut seen = Vec::new();
        set.drain(&mut context, |key| seen.push(key));
        let (seven, nine) = (set.waker(7), set.waker(9));
        seven.wake_by_ref();
        seven.wake_by_ref();
        nine.wake_by_ref();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        set.drain(&mut context, |key| seen.push(key));
        assert_eq!(seen, [7, 9]);
        seven.wake_by_ref();
        set.drain(&mut context, |key| seen.push(key));
        assert_eq!(seen, [7, 9, 7]);
        assert_eq!(task.0.load(Ordering::Relaxed), 2);
    }
}
