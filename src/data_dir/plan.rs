//! What a start does with a data directory: decided of what a [`Survey`] saw, without another look.
//!
//! ```text
//! identity     store, journal, images           what happens
//! -----------  -------------------------------  -----------------------------------------------
//! newer        any                              refused
//! none         nothing                          a new directory is created
//! none         journal or images                rebuilt; new instance, held (unknown origin)
//! damaged      journal or images                the same
//! none, dam.   only a store                     refused: nothing vouches for it
//! damaged      nothing                          refused
//! creating     no commit yet                    creation begins again
//! restoring    any                              refused
//! established  nothing                          refused: never opened empty
//! established  a copy without a mark            refused: it is not complete
//! established  suspect note, or no store        rebuilt
//! established  clean, files as they were left   opened; exact, whatever the journal says
//! established  clean, files too large to check  in place: opened; a copy: rebuilt
//! established  clean, files differ              rebuilt
//! established  not clean, a copy                rebuilt (a running directory was copied)
//! established  not clean, store not ours        rebuilt (replaced, or a rebuild was interrupted)
//! established  not clean, another boot          rebuilt (a power cut); if it cannot be: opened
//! established  not clean, store ours            opened (a crash); see below
//! ```
//!
//! sled moves rows between its segments and uses the old ones again before the new ones are synced:
//! after a power cut, rows may be gone from behind its last synced commit, and nobody could tell.
//!
//! A copy, stopped or running, always gets a new instance and comes up held; one that was laid over
//! a directory with a journal of its own is refused. After opening:
//!
//! ```text
//! the base's last commit is                          what happens
//! -------------------------------------------------  ---------------------------------------
//! not that of the clean mark                         rebuilt
//! before what it held when it was last synced        rebuilt: its log was damaged
//! before what the journal still has                  rebuilt
//! at or before the journal's last                    the rest of the journal is applied
//! after the journal's last, files checked            goes on from the base; a new image is due
//! after the journal's last, otherwise                refused: the journal lost commits
//! opening or reading fails or panics                 rebuilt
//! ```
//!
//! In place, the journal must reach what mark and clean mark say, else it is refused. A rebuild
//! takes the newest image that is whole and whose journal is unbroken from its start to at least
//! its end; when the journal goes back to commit 1, no image is needed. Without any: refused, and
//! nothing was touched.

use std::fmt;

use super::identity::{Boot, Found, HeldReason, Identity, Stage};
use super::refusal::Reason;
use super::store_files::Comparison;
use super::survey::{StoreSeen, Survey};

/// Where the directory comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is new, or its creation was interrupted.
    New,
    /// It is where it was made.
    InPlace(Box<Identity>),
    /// It is a copy of this one.
    Copy(Box<Identity>),
    /// Its identity is missing or damaged.
    Unknown,
}

/// What happens with the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// It is created.
    Create,
    /// It is opened; every byte is as it was when commit `seq` was its last.
    Exact {
        /// The last commit.
        seq: u64,
    },
    /// It is opened; it was closed cleanly after commit `seq`.
    Unchecked {
        /// The last commit.
        seq: u64,
    },
    /// It is opened after a crash, and the journal applied.
    Crashed,
    /// It is rebuilt.
    Rebuild(RebuildWhy),
}

/// Why a base is rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebuildWhy {
    /// There is none.
    Missing,
    /// It reported damage while running.
    Suspect,
    /// A running directory was copied.
    CopiedWhileOpen,
    /// It is not the one that belongs here, or a rebuild was interrupted.
    NotOurs,
    /// Its files are not as the clean stop left them.
    Changed,
    /// It lost commits that it had synced, or is older than the journal.
    Behind {
        /// The last commit it holds.
        applied: u64,
    },
    /// The machine went down while it was open.
    PowerCut,
    /// An operator wants it.
    Asked,
    /// It cannot be opened or read.
    Unusable(String),
}

impl RebuildWhy {
    /// Whether nothing speaks against the present base: when the new one is there, it goes.
    pub(super) fn spares_the_store(&self) -> bool {
        matches!(self, Self::PowerCut | Self::Asked)
    }

    /// Whether the present base is opened all the same when it cannot be rebuilt.
    pub(super) fn may_be_opened(&self, obstacle: &Reason) -> bool {
        let obstacle = matches!(obstacle, Reason::NoSource { .. } | Reason::NoRoom { .. });
        *self == Self::PowerCut && obstacle
    }
}

impl fmt::Display for RebuildWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "the store is missing"),
            Self::Suspect => write!(f, "the store reported damage while running"),
            Self::CopiedWhileOpen => write!(f, "the store was copied while it was open"),
            Self::NotOurs => write!(f, "the store was replaced, or a rebuild was interrupted"),
            Self::Changed => write!(f, "the store's files changed since the clean stop"),
            Self::Behind { applied } => {
                write!(f, "the store lost commits: its last one is {applied}")
            }
            Self::Asked => write!(f, "that was asked for"),
            Self::PowerCut => write!(f, "the machine went down while the store was open"),
            Self::Unusable(why) => write!(f, "the store cannot be opened or read: {why}"),
        }
    }
}

/// What a start does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where the directory comes from.
    pub origin: Origin,
    /// What happens with the base.
    pub base: Base,
    /// The commit that the journal must reach, as far as is known.
    pub journal_reached: u64,
    /// The commit that the base must hold, as far as is known.
    pub base_reached: u64,
}

impl Plan {
    /// The commit of the clean stop that a copy knows of.
    #[must_use]
    pub fn copied_stop(&self) -> Option<u64> {
        match &self.origin {
            Origin::Copy(identity) => identity.clean.map(|clean| clean.seq),
            Origin::New | Origin::InPlace(_) | Origin::Unknown => None,
        }
    }

    /// Why the directory will be held after this start, if it will be.
    #[must_use]
    pub fn held(&self) -> Option<HeldReason> {
        match &self.origin {
            Origin::New => None,
            Origin::InPlace(identity) => identity.held,
            Origin::Copy(_) => Some(HeldReason::Copy),
            Origin::Unknown => Some(HeldReason::UnknownOrigin),
        }
    }
}

/// Decides by the table above: a function of what was seen. Only the part that can be known without
/// opening the base.
pub fn plan(survey: &Survey) -> Result<Plan, Reason> {
    let stored = survey.store != StoreSeen::Missing;
    let is_damaged = match &survey.identity {
        Found::Newer(format) => {
            return Err(Reason::Newer(format!("the directory has format {format}")));
        }
        Found::Identity(identity) => return known(survey, identity, stored),
        Found::Missing => false,
        Found::Damaged(_) => true,
    };
    let (origin, base) = match (survey.has_archive(), stored, is_damaged) {
        (true, true, _) => (Origin::Unknown, Base::Rebuild(RebuildWhy::NotOurs)),
        (true, false, _) => (Origin::Unknown, Base::Rebuild(RebuildWhy::Missing)),
        (false, true, _) => return Err(Reason::OnlyStore),
        (false, false, true) => return Err(Reason::NothingLeft),
        (false, false, false) => (Origin::New, Base::Create),
    };
    Ok(Plan { origin, base, journal_reached: 0, base_reached: 0 })
}

fn known(survey: &Survey, identity: &Identity, stored: bool) -> Result<Plan, Reason> {
    if identity.stage == Stage::Restoring {
        return Err(Reason::Restoring);
    }
    if identity.stage == Stage::Creating && !survey.has_commits() {
        let (origin, base) = (Origin::New, Base::Create);
        return Ok(Plan { origin, base, journal_reached: 0, base_reached: 0 });
    }
    if !stored && !survey.has_archive() {
        return Err(Reason::NothingLeft);
    }
    survey.check_writer()?;
    if survey.is_copy && !survey.has_mark {
        return Err(Reason::Incomplete);
    }
    let identity = Box::new(identity.clone());
    Ok(Plan {
        base: base(survey, identity.clean.map(|clean| clean.seq)),
        journal_reached: survey.journal_reached(),
        base_reached: survey.base_reached(),
        origin: if survey.is_copy { Origin::Copy(identity) } else { Origin::InPlace(identity) },
    })
}

fn base(survey: &Survey, stopped_at: Option<u64>) -> Base {
    let StoreSeen::There { is_ours, since_stop } = survey.store else {
        return Base::Rebuild(RebuildWhy::Missing);
    };
    if survey.is_suspect {
        return Base::Rebuild(RebuildWhy::Suspect);
    }
    if let Some((seq, compared)) = stopped_at.zip(since_stop) {
        return match compared {
            Comparison::Same => Base::Exact { seq },
            Comparison::SameLength if survey.is_copy => Base::Rebuild(RebuildWhy::CopiedWhileOpen),
            Comparison::SameLength => Base::Unchecked { seq },
            Comparison::Different => Base::Rebuild(RebuildWhy::Changed),
        };
    }
    if survey.is_copy {
        return Base::Rebuild(RebuildWhy::CopiedWhileOpen);
    }
    match survey.boot {
        _ if !is_ours => Base::Rebuild(RebuildWhy::NotOurs),
        Boot::Another => Base::Rebuild(RebuildWhy::PowerCut),
        Boot::Same | Boot::Unknown => Base::Crashed,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::data_dir::identity::{CleanMark, InstanceId};
    use crate::data_dir::journal::JournalFile;
    use crate::data_dir::mark::Mark;

    const OURS: InstanceId = InstanceId(7);
    const OTHERS: InstanceId = InstanceId(8);

    /// An established directory where it was made, not closed, after a crash.
    fn crashed() -> Survey {
        let identity = Identity {
            format: 2,
            instance: OURS,
            stage: Stage::Established,
            held: None,
            store: None,
            clean: None,
            place: None,
            from: None,
        };
        Survey {
            identity: Found::Identity(Box::new(identity)),
            is_copy: false,
            boot: Boot::Same,
            mark: Some(Mark { instance: OURS, journal_seq: 9, base_seq: 5 }),
            has_mark: true,
            is_suspect: false,
            journals: vec![JournalFile { first_seq: 1, path: PathBuf::new(), bytes: 5_000 }],
            last_writer: None,
            images: vec![(3, PathBuf::new())],
            store: StoreSeen::There { is_ours: true, since_stop: None },
        }
    }

    fn with(change: impl FnOnce(&mut Survey)) -> Survey {
        let mut survey = crashed();
        change(&mut survey);
        survey
    }

    fn identity(survey: &mut Survey) -> &mut Identity {
        match &mut survey.identity {
            Found::Identity(identity) => identity,
            other => panic!("{other:?}"),
        }
    }

    /// Closed cleanly after commit 11.
    fn stopped(compared: Comparison) -> impl Fn(&mut Survey) {
        move |survey| {
            identity(survey).clean = Some(CleanMark { seq: 11, bytes: 1, crc: None });
            survey.store = StoreSeen::There { is_ours: true, since_stop: Some(compared) };
        }
    }

    fn empty(survey: &mut Survey) {
        survey.journals.clear();
        survey.images.clear();
        survey.store = StoreSeen::Missing;
    }

    fn is_there(survey: &Survey) -> String {
        match plan(survey) {
            Ok(plan) => {
                let origin = match plan.origin {
                    Origin::New => "new",
                    Origin::InPlace(_) => "in place",
                    Origin::Copy(_) => "copy",
                    Origin::Unknown => "unknown",
                };
                format!("{origin}: {:?}", plan.base)
            }
            Err(reason) => format!("refused: {reason:?}"),
        }
    }

    type Case = (&'static str, Survey, &'static str);

    #[test]
    fn each_line_of_the_table_is_planned_as_it_says() {
        let copy = |survey: &mut Survey| survey.is_copy = true;
        let lost = |survey: &mut Survey| survey.identity = Found::Missing;
        let damaged = |survey: &mut Survey| survey.identity = Found::Damaged("bad".into());
        let archive_only = |survey: &mut Survey| survey.store = StoreSeen::Missing;
        let store_only = |survey: &mut Survey| {
            survey.journals.clear();
            survey.images.clear();
        };
        let both = |one: &dyn Fn(&mut Survey), two: &dyn Fn(&mut Survey)| {
            with(|survey| {
                one(survey);
                two(survey);
            })
        };
        let cases: Vec<Case> = vec![
            ("newer", with(|it| it.identity = Found::Newer(9)), "refused: Newer"),
            ("no identity, nothing", both(&lost, &empty), "new: Create"),
            ("no identity, all", with(lost), "unknown: Rebuild(NotOurs)"),
            ("no identity, archive", both(&lost, &archive_only), "unknown: Rebuild(Missing)"),
            ("damaged, archive", both(&damaged, &archive_only), "unknown: Rebuild(Missing)"),
            ("no identity, store", both(&lost, &store_only), "refused: OnlyStore"),
            ("damaged, store", both(&damaged, &store_only), "refused: OnlyStore"),
            ("damaged, nothing", both(&damaged, &empty), "refused: NothingLeft"),
            (
                "creating, no commit",
                both(&|it| identity(it).stage = Stage::Creating, &empty),
                "new: Create",
            ),
            (
                "creating, a commit",
                with(|it| identity(it).stage = Stage::Creating),
                "in place: Crashed",
            ),
            ("restoring", with(|it| identity(it).stage = Stage::Restoring), "refused: Restoring"),
            ("established, nothing", with(empty), "refused: NothingLeft"),
            ("a copy without mark", both(&copy, &|it| it.has_mark = false), "refused: Incomplete"),
            (
                "a copy over another",
                both(&copy, &|it| it.last_writer = Some(OTHERS)),
                "refused: Mixed",
            ),
            ("suspect", with(|it| it.is_suspect = true), "in place: Rebuild(Suspect)"),
            ("no store", with(archive_only), "in place: Rebuild(Missing)"),
            ("clean, same", with(stopped(Comparison::Same)), "in place: Exact { seq: 11 }"),
            (
                "clean copy, same",
                both(&copy, &stopped(Comparison::Same)),
                "copy: Exact { seq: 11 }",
            ),
            (
                "clean, too large",
                with(stopped(Comparison::SameLength)),
                "in place: Unchecked { seq: 11 }",
            ),
            (
                "clean copy, too large",
                both(&copy, &stopped(Comparison::SameLength)),
                "copy: Rebuild(CopiedWhileOpen)",
            ),
            ("clean, differs", with(stopped(Comparison::Different)), "in place: Rebuild(Changed)"),
            ("open copy", with(copy), "copy: Rebuild(CopiedWhileOpen)"),
            (
                "not ours",
                with(|it| it.store = StoreSeen::There { is_ours: false, since_stop: None }),
                "in place: Rebuild(NotOurs)",
            ),
            ("another boot", with(|it| it.boot = Boot::Another), "in place: Rebuild(PowerCut)"),
            ("a crash", crashed(), "in place: Crashed"),
            ("unknown boot", with(|it| it.boot = Boot::Unknown), "in place: Crashed"),
        ];
        for (what, survey, wanted) in cases {
            let planned = is_there(&survey);
            assert!(planned.starts_with(wanted), "{what}: {planned}, not {wanted}");
        }
    }

    #[test]
    fn what_must_be_reached_is_what_this_directory_itself_noted() {
        let of = |survey: &Survey| {
            let plan = plan(survey).unwrap();
            (plan.journal_reached, plan.base_reached)
        };
        assert_eq!(of(&crashed()), (9, 5));
        assert_eq!(of(&with(stopped(Comparison::Same))), (11, 5));
        // Of a copy the mark may be newer than its journal.
        let copied = with(|survey| {
            stopped(Comparison::Same)(survey);
            survey.is_copy = true;
        });
        assert_eq!(of(&copied), (11, 0));
        assert_eq!(copied.copied_stop(), Some(11));
        assert_eq!(of(&with(|survey| survey.is_copy = true)), (0, 0));
    }
}
