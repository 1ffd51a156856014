use crate::error::HubError;
use std::fmt;
use std::str::FromStr;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepoKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

impl RepoKind {
    /// The word for several of them, in addresses and names of folders.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
        }
    }

    fn word(self) -> &'static str {
        match self {
            RepoKind::Model => "model",
            RepoKind::Dataset => "data set",
        }
    }
}

/// A repository of the Hub at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    /// What it holds.
    pub kind: RepoKind,
    /// `owner/name`, or the name of one without an owner.
    pub id: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

/// The revision by default.
const MAIN: &str = "main";

/// The greatest length of an owner and of a name.
const LONGEST: usize = 96;

impl Repo {
    /// The repository that `text` names: `owner/name` or `owner/name@revision`.
    ///
    /// # Errors
    /// A text of another form.
    pub fn parse(kind: RepoKind, text: &str) -> Result<Repo, HubError> {
        let (id, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let is_name = |part: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=LONGEST).contains(&part.len())
                && part.bytes().all(known)
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("--")
                && !part.contains("..")
        };
        let parts: Vec<&str> = id.split('/').collect();
        let is_revision = !revision.is_empty()
            && !revision.split('/').any(|part| part.is_empty() || part.starts_with('.'))
            && !revision.contains(|it: char| it.is_whitespace() || it.is_control() || it == '\\');
        if parts.len() > 2 || !parts.iter().all(|part| is_name(part)) || !is_revision {
            let expected = "expected owner/name of a repository of the Hub, or owner/name@revision";
            return Err(HubError::Name { text: text.to_owned(), expected: expected.to_owned() });
        }
        Ok(Repo { kind, id: id.to_owned(), revision: revision.to_owned() })
    }

    /// The same repository at another revision.
    pub fn at(&self, revision: &str) -> Repo {
        Repo { revision: revision.to_owned(), ..self.clone() }
    }

    /// The name of its folder in the cache.
    pub(crate) fn folder(&self) -> String {
        format!("{}--{}", self.kind.plural(), self.id.replace('/', "--"))
    }

    /// The path of its API, without the endpoint.
    pub(crate) fn api(&self) -> String {
        format!("/api/{}/{}", self.kind.plural(), self.id)
    }

    /// The path of its page, without the endpoint.
    pub(crate) fn page(&self) -> String {
        match self.kind {
            RepoKind::Model => format!("/{}", self.id),
            RepoKind::Dataset => format!("/datasets/{}", self.id),
        }
    }
}

/// A model's name, as [`Repo::parse`] reads it.
impl FromStr for Repo {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Repo, HubError> {
        Repo::parse(RepoKind::Model, text)
    }
}

/// The kind, the name, and the revision where it is not the one by default.
impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.id)?;
        if self.revision == MAIN { Ok(()) } else { write!(f, " at {}", self.revision) }
    }
}
