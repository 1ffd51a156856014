//! What trackers of training runs read of the process.

use rankforge::trackers::Environment;

/// The variables that trackers read, the name of the machine and the number of the process.
pub(crate) fn environment() -> Environment {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| Environment::is_read(name))?;
        Some((name, value.into_string().ok()?))
    });
    Environment {
        variables: variables.collect(),
        hostname: hostname().unwrap_or_default(),
        process: std::process::id(),
    }
}

#[cfg(unix)]
fn hostname() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

#[cfg(not(unix))]
fn hostname() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}
