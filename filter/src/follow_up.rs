//! What goes on after a verdict has been carried out: callbacks, for which no request waits.

use std::cell::RefCell;
use std::rc::Rc;

use sidegate_engine::{CallError, CallId, FollowUp, Following, Reply, Session, StepRecord, Timestamp};

use crate::calls::{Asker, AskerId, Asking};
use crate::drive::{self, Next};
use crate::host;
use crate::observe;
use crate::plugin::Plugin;

/// A follow-up under way. It belongs to the plugin, and needs nothing of its request's stream.
struct Follower {
    plugin: Rc<Plugin>,
    id: AskerId,
    auth_config: Rc<str>,
    follow_up: RefCell<Option<FollowUp>>,
}

/// Begins what follows a request that was decided by this AuthConfig.
pub fn start(plugin: &Rc<Plugin>, session: Session, auth_config: Rc<str>, now: Timestamp) {
    let Some((follow_up, following)) = session.follow_up(now) else { return };
    let id = AskerId::FollowUp(plugin.next_follow_up());
    let follower = Rc::new(Follower { plugin: Rc::clone(plugin), id, auth_config, follow_up: RefCell::default() });
    follower.advance(follow_up, following, now);
}

impl Follower {
    fn advance(self: &Rc<Self>, mut follow_up: FollowUp, following: Following, now: Timestamp) {
        let asking = Asking { id: self.id, deadline: follow_up.deadline(), asker: Rc::clone(self) as Rc<dyn Asker> };
        let done = drive::on(
            following.into(),
            |call| self.plugin.ask(&asking, call, now).err().map(Err),
            |id, reply| follow_up.resume(id, reply, now).into(),
        );
        match done {
            Some(steps) => self.end(&steps),
            None => drop(self.follow_up.replace(Some(follow_up))),
        }
    }

    fn end(&self, steps: &[StepRecord]) {
        self.plugin.calls.forget(self.id);
        observe::follow_up(&self.plugin, &self.auth_config, steps);
    }
}

impl Asker for Follower {
    fn answered(self: Rc<Self>, id: CallId, reply: Result<Reply, CallError>) {
        let (Some(mut follow_up), Ok(now)) = (self.follow_up.take(), host::now()) else { return };
        let following = follow_up.resume(id, reply, now);
        self.advance(follow_up, following, now);
    }

    fn expired(self: Rc<Self>) {
        if let Some(mut follow_up) = self.follow_up.take() {
            self.end(&follow_up.expire());
        }
    }
}

impl From<Following> for Next<Vec<StepRecord>> {
    fn from(following: Following) -> Self {
        match following {
            Following::Pending(calls) => Self::Pending(calls),
            Following::Done(steps) => Self::Done(steps),
        }
    }
}
