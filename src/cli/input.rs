//! What a verb reads: files, a live cluster, or files over a cluster.
//!
//! Reading order: `documents` (files to objects), `manifests` (objects to a snapshot, strictly), `live` (a cluster to a
//! snapshot), `overlay` (files over a cluster), `identities` (what files leave out).

mod documents;
pub mod identities;
pub mod live;
pub mod manifests;
pub mod overlay;
mod schema_limits;
pub mod snapshot;

use std::fmt;
use std::path::PathBuf;

use clap::Args;

use self::documents::{InputProblem, read_documents};
use self::live::LiveError;
use self::manifests::Manifests;

/// Where the objects come from.
#[derive(Args, Clone, Debug)]
pub struct InputArgs {
    /// File or directory with tiers, namespaces, policies that stand, Services and EndpointSlices, as YAML or JSON; - for
    /// stdin; repeatable. Without it, the cluster of KUBECONFIG is read
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Read the directories below a directory too
    #[arg(short = 'R', long, requires = "files")]
    recursive: bool,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Everything that is wrong with what was given.
#[derive(Debug)]
pub struct InputProblems(Vec<InputProblem>);

/// Why there is nothing to tell of.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What the files hold.
    #[error(transparent)]
    Input(#[from] InputProblems),
    /// The cluster.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// A flag without what it is about.
    #[error("--context names a cluster, and -f asks none: leave one of the two out")]
    ContextWithoutCluster,
    /// A namespace that the files lack.
    #[error("there is no namespace {0}")]
    NoNamespace(String),
}

impl InputArgs {
    /// Whether files were given.
    pub fn are_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// The context of the kubeconfig, if one was named.
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// Reads the files, if there are any; `None` where it is the cluster that is asked.
    ///
    /// # Errors
    /// When anything in them cannot be taken as it is written, and when a cluster is named beside them.
    pub fn read_files_alone(&self) -> Result<Option<Manifests>, ReadError> {
        match self.context() {
            _ if !self.are_files() => Ok(None),
            Some(_) => Err(ReadError::ContextWithoutCluster),
            None => Ok(Some(self.read_files()?)),
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// When anything in them cannot be taken as it is written.
    pub fn read_files(&self) -> Result<Manifests, InputProblems> {
        let (documents, mut problems) = read_documents(&self.files, self.recursive);
        let mut manifests = Manifests::read(documents);
        problems.append(&mut manifests.problems);
        match problems.is_empty() {
            true => Ok(manifests),
            false => Err(InputProblems(problems)),
        }
    }
}

impl fmt::Display for InputProblems {
    /// A line each, all with the word that the first gets from the command line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\nerror: " };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InputProblems {}
