use crate::error::HubError;
use rankforge_base::FileError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the Hub and the cache are, and who asks.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// The address of the Hub, without a slash at its end.
    pub endpoint: String,
    /// The folder of all repositories.
    pub cache: PathBuf,
    /// Who asks; `None` gets what is public.
    pub token: Option<Token>,
    /// Whether nothing may be asked, and only what is in the cache is found.
    pub offline: bool,
    /// The first wait before a request is repeated; each later one is twice as long.
    pub first_wait: Duration,
}

/// A token of the Hub, which no message shows.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token.
    pub fn new(text: impl Into<String>) -> Token {
        Token(text.into())
    }

    /// The value of the header `Authorization`.
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

impl HubSettings {
    /// The settings that variables give, by the names of Python's client: HF_ENDPOINT, HF_HOME (or
    /// XDG_CACHE_HOME), HF_HUB_CACHE, HF_HUB_OFFLINE, and HF_TOKEN, or else the file HF_TOKEN_PATH,
    /// by default `token` in HF_HOME.
    ///
    /// # Errors
    /// No folder for the cache, or a token that cannot be read.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<HubSettings, HubError> {
        let text = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        let cache_home = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
        let home = path("HF_HOME").or_else(|| Some(cache_home?.join("huggingface")));
        let within = |name: &str| home.as_ref().map(|home| home.join(name));
        let cache = path("HF_HUB_CACHE").or_else(|| within("hub")).ok_or_else(|| {
            HubError::refused("HF_HOME", "expected a folder for the cache, as HOME is not set")
        })?;
        let token = match text("HF_TOKEN") {
            Some(token) => Some(Token(token.trim().to_owned())),
            None => match path("HF_TOKEN_PATH").or_else(|| within("token")) {
                Some(path) => read_token(&path)?,
                None => None,
            },
        };
        let is_on = |value: String| {
            ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str())
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Ok(HubSettings {
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            cache,
            token,
            offline: text("HF_HUB_OFFLINE").is_some_and(is_on),
            first_wait: Duration::from_secs(1),
        })
    }
}

fn read_token(path: &Path) -> Result<Option<Token>, HubError> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(FileError::io(path))?;
    let token = text.trim();
    Ok((!token.is_empty()).then(|| Token(token.to_owned())))
}
