//! Requests to the Hub, repeated where another answer may come.

use crate::error::HubError;
use crate::repo::Repo;
use crate::settings::HubSettings;
use rankforge_base::Stop;
use serde_json::Value;
use std::time::Duration;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// How often a request is made until there is an answer.
const ATTEMPTS: u32 = 5;

/// How many redirections are followed.
const REDIRECTIONS: usize = 8;

/// The longest wait that an answer can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The greatest size of an answer in JSON.
const LONGEST_ANSWER: u64 = 64 << 20;

pub(crate) struct Client {
    agent: Agent,
    settings: HubSettings,
}

impl Client {
    pub(crate) fn new(settings: HubSettings) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Followed here: the token must not go to other hosts.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            .user_agent(concat!("rankforge/", env!("CARGO_PKG_VERSION")));
        Client { agent: config.build().new_agent(), settings }
    }

    pub(crate) fn settings(&self) -> &HubSettings {
        &self.settings
    }

    /// An answer in JSON, and the address of the next page, if there is one.
    pub(crate) fn json(
        &self,
        repo: &Repo,
        url: &str,
        stop: &Stop,
    ) -> Result<(Value, Option<String>), HubError> {
        let mut response = self.get(repo, url, None, stop)?;
        let next = header(&response, "link").and_then(next_page);
        let text = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string();
        let text = text.map_err(|error| HubError::unavailable(url, error.to_string()))?;
        let value = serde_json::from_str(&text)
            .map_err(|_| HubError::refused(url, "expected an answer in JSON"))?;
        Ok((value, next))
    }

    /// The answer to a request, after redirections; with `from`, for the bytes from there on.
    pub(crate) fn get(
        &self,
        repo: &Repo,
        url: &str,
        from: Option<u64>,
        stop: &Stop,
    ) -> Result<Response<Body>, HubError> {
        let mut url = url.to_owned();
        for _ in 0..REDIRECTIONS {
            let response = self.answer(repo, &url, from, stop)?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = header(&response, "location");
            let location = location
                .ok_or_else(|| HubError::refused(&url, "a redirection without an address"))?;
            url = self.address(location)?;
        }
        Err(HubError::refused(url, "too many redirections"))
    }

    /// An absolute address; a relative one is of the Hub.
    fn address(&self, location: &str) -> Result<String, HubError> {
        match location {
            it if it.starts_with("https://") || it.starts_with("http://") => Ok(it.to_owned()),
            it if it.starts_with('/') => Ok(format!("{}{it}", origin(&self.settings.endpoint))),
            other => Err(HubError::refused(other, "expected an absolute address")),
        }
    }

    /// The answer to one address, which may be a redirection.
    fn answer(
        &self,
        repo: &Repo,
        url: &str,
        from: Option<u64>,
        stop: &Stop,
    ) -> Result<Response<Body>, HubError> {
        let mut wait = self.settings.first_wait;
        for attempt in 1.. {
            if stop.is_requested() {
                return Err(HubError::Interrupted);
            }
            let mut request = self.agent.get(url);
            let of_hub = origin(url) == origin(&self.settings.endpoint);
            if let Some(token) = self.settings.token.as_ref().filter(|_| of_hub) {
                request = request.header("Authorization", token.header());
            }
            if let Some(from) = from.filter(|from| *from > 0) {
                request = request.header("Range", format!("bytes={from}-"));
            }
            let (error, asked) = match request.call() {
                Ok(response) if !may_pass(response.status()) => {
                    return self.checked(repo, url, response);
                }
                Ok(response) => {
                    let busy = response.status() == StatusCode::TOO_MANY_REQUESTS;
                    let message = match busy {
                        true => "too many requests; wait, or set HF_TOKEN, which allows more",
                        false => "the server has a problem; try again later",
                    };
                    let error = HubError::unavailable(
                        host(url),
                        format!("{}: {message}", response.status()),
                    );
                    (error, retry_after(&response))
                }
                Err(error) => (HubError::unavailable(host(url), error.to_string()), None),
            };
            if attempt == ATTEMPTS {
                return Err(error);
            }
            std::thread::sleep(asked.unwrap_or(wait).min(LONGEST_WAIT));
            wait *= 2;
        }
        unreachable!("the last attempt returns")
    }

    /// The answer, unless it is a refusal.
    fn checked(
        &self,
        repo: &Repo,
        url: &str,
        response: Response<Body>,
    ) -> Result<Response<Body>, HubError> {
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(response);
        }
        let code = header(&response, "x-error-code");
        let page = format!("{}{}", self.settings.endpoint, repo.page());
        let has_token = self.settings.token.is_some();
        let message = match (status, code) {
            (_, Some("GatedRepo")) if has_token => {
                format!("access is granted on request: ask for it at {page}")
            }
            (_, Some("GatedRepo")) => format!(
                "access is granted on request: ask for it at {page}, and set HF_TOKEN to a token \
                 of yours"
            ),
            (StatusCode::NOT_FOUND, Some("RevisionNotFound")) => "no such revision".to_owned(),
            (StatusCode::NOT_FOUND, Some("EntryNotFound")) => format!("no such file: {url}"),
            (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND, _) if has_token => {
                format!("not at {page}, or private and not open to the owner of the token")
            }
            (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND, _) => {
                format!("not at {page}, or private: set HF_TOKEN to a token that may read it")
            }
            (StatusCode::FORBIDDEN, _) => format!("{page} is not open to the owner of the token"),
            (status, _) => format!("{status} from {}", host(url)),
        };
        Err(HubError::refused(repo.to_string(), message))
    }
}

/// A header, if the answer has it and it is a text.
fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn may_pass(status: StatusCode) -> bool {
    let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || busy.contains(&status)
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = header(response, "retry-after")?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Scheme and host of an address.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    &url[..end]
}

/// The host of an address, for messages: what follows it may be a signature.
fn host(url: &str) -> &str {
    let origin = origin(url);
    origin.split_once("://").map_or(origin, |(_, host)| host)
}

/// The address with `rel="next"` of a header `Link`.
fn next_page(link: &str) -> Option<String> {
    let next = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let (_, rest) = next.split_once('<')?;
    Some(rest.split_once('>')?.0.to_owned())
}
