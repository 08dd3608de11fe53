//! What each word of the command does: a file each, with its arguments, a call or two, and how the reply is shown.

pub(crate) mod accept;
pub(crate) mod completion;
pub(crate) mod console;
pub(crate) mod cp;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod leave;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod notifications;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod seal;
pub(crate) mod shell;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod trace;
pub(crate) mod trial;
pub(crate) mod validate;
