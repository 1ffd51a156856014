//! Requests to the server.

use crate::mlflow::settings::MlflowSettings;
use crate::sink::Failure;
use serde_json::Value;
use std::time::Duration;
use ureq::http::{Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

/// A server, with what each request needs.
pub(super) struct Client {
    agent: Agent,
    uri: String,
    authorization: Option<String>,
    limit: Duration,
}

/// Why a request failed.
pub(super) struct Refused {
    /// The name that the server gives the error, such as `RESOURCE_DOES_NOT_EXIST`.
    pub(super) code: String,
    pub(super) failure: Failure,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        refused.failure
    }
}

impl Client {
    /// A client whose requests take no longer than `limit`. Sends nothing.
    ///
    /// # Errors
    /// Certificates or a proxy that cannot be used.
    pub(super) fn new(settings: &MlflowSettings, limit: Duration) -> Result<Client, Failure> {
        let lasting = |message: String| Failure { message, may_pass: false };
        let mut tls = TlsConfig::builder().disable_verification(settings.insecure);
        if let Some(path) = &settings.certificates {
            let unusable = |error: String| {
                lasting(format!("MLFLOW_TRACKING_SERVER_CERT_PATH: {}: {error}", path.display()))
            };
            let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
            let mut certificates = Vec::new();
            for item in parse_pem(&bytes) {
                match item.map_err(|error| unusable(error.to_string()))? {
                    PemItem::Certificate(certificate) => certificates.push(certificate),
                    _ => continue,
                }
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
        }
        let proxy = settings.proxy.as_deref().map(Proxy::new).transpose();
        let proxy = proxy.map_err(|error| lasting(format!("proxy: {error}")))?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(limit))
            .user_agent(concat!("rankforge/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .proxy(proxy);
        Ok(Client {
            agent: config.build().new_agent(),
            uri: settings.uri.clone(),
            authorization: settings.authorization.clone(),
            limit,
        })
    }

    /// Asks for something, by parameters of the query.
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Refused> {
        let mut request = self.agent.get(self.address(path));
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        self.answer(request.call())
    }

    /// Sends something.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        let mut request = self.agent.post(self.address(path));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let request = request.header("Content-Type", "application/json");
        self.answer(request.send(body.to_string()))
    }

    fn address(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.uri)
    }

    fn answer(&self, result: Result<Response<Body>, ureq::Error>) -> Result<Value, Refused> {
        let read = result.and_then(|mut response| {
            Ok((response.status(), response.body_mut().read_to_string()?))
        });
        match read {
            Ok((status, text)) if status.is_success() => {
                serde_json::from_str(&text).map_err(|_| {
                    let message = format!("{}: expected JSON of MLflow's API", self.uri);
                    Refused { code: String::new(), failure: Failure { message, may_pass: false } }
                })
            }
            Ok((status, text)) => Err(self.refused(status, &text)),
            Err(error) => {
                let message = match error {
                    ureq::Error::Timeout(_) => {
                        format!("{}: no answer within {} s", self.uri, self.limit.as_secs_f64())
                    }
                    error => format!("{}: {error}", self.uri),
                };
                Err(Refused { code: String::new(), failure: Failure { message, may_pass: true } })
            }
        }
    }

    /// An answer that is an error. One of the server itself, or that it is busy, may pass.
    fn refused(&self, status: StatusCode, text: &str) -> Refused {
        let answer: Value = serde_json::from_str(text).unwrap_or_default();
        let field = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        let code = field("error_code");
        let message = format!("{}: {status} {}", self.uri, field("message"));
        let may_pass = status.is_server_error() || busy.contains(&status);
        let message = message.trim_end().to_owned();
        Refused { code, failure: Failure { message, may_pass } }
    }
}
