//! SIGHUP: read the file again and apply it whole, or say what is wrong and change nothing (contract
//! rule L2). The probes follow the configuration.

use super::Commands;
use crate::{
    command::Command,
    config::{Config, Problems, diff::Diff},
    health::Prober,
    publish,
};
use std::path::PathBuf;

/// The configuration in force and what it takes to replace it.
pub(super) struct Reloader {
    config: Config,
    file: PathBuf,
    commands: Commands,
    prober: Prober,
}

impl Reloader {
    pub(super) fn new(config: Config, file: PathBuf, commands: Commands) -> Self {
        Self {
            prober: Prober::new(commands.clone()),
            config,
            file,
            commands,
        }
    }

    /// Starts the probes.
    pub(super) async fn begin(&mut self) {
        self.prober.set(&self.config).await;
    }

    /// Reads the file and applies what has changed.
    pub(super) async fn reload(&mut self) {
        let file = self.file.clone();
        // A large file takes milliseconds to check, in which the calls go on.
        let loaded = tokio::task::spawn_blocking(move || Config::load(&file)).await;
        match loaded.map(|loaded| self.judge(loaded)) {
            Ok(Ok(config)) => self.apply(config).await,
            Ok(Err(reasons)) => {
                for reason in reasons {
                    log::error!("{reason}");
                }
                log::error!("SIGHUP: nothing was changed");
            }
            Err(panic) => log::error!("SIGHUP: nothing was changed: {panic}"),
        }
    }

    /// The configuration if it can be applied without a restart, or else why not.
    fn judge(&self, loaded: Result<Config, Problems>) -> Result<Config, Vec<String>> {
        let config = loaded.map_err(|problems| vec![problems.to_string()])?;
        let restart = Diff::between(&self.config, &config).restart;
        let restart = restart
            .iter()
            .map(|key| format!("{}: {key} changes only by a restart", self.file.display()));
        let reasons: Vec<_> = restart.chain(publish::unsupported(&config)).collect();
        if reasons.is_empty() {
            Ok(config)
        } else {
            Err(reasons)
        }
    }

    async fn apply(&mut self, config: Config) {
        let command = Command::Reload(Box::new(config.clone()));
        if self.commands.send(command).await.is_err() {
            return;
        }
        log::info!("SIGHUP: {} is read", self.file.display());
        self.prober.set(&config).await;
        self.config = config;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(cores: &str, forward: &str) -> Result<Config, Problems> {
        let text = format!(
            r#"
            [workers]
            cores = {cores}
            [[port]]
            device = "0000:03:00.0"
            addresses = ["10.9.0.2/24"]
            [control]
            [[service]]
            name = "shop"
            address = "10.9.0.100"
            port = 80
            forward = "{forward}"
            [[service.backend]]
            name = "shop-1"
            address = "10.9.0.11"
            port = 80
            "#
        );
        Config::parse("t.toml", &text)
    }

    fn reasons(loaded: Result<Config, Problems>) -> Vec<String> {
        let commands = Commands::new(crossbeam_channel::bounded(1).0);
        let config = parse("[0]", "dsr").unwrap();
        let reloader = Reloader::new(config, "t.toml".into(), commands);
        reloader.judge(loaded).err().unwrap_or_default()
    }

    #[test]
    fn only_what_can_be_applied_whole_is() {
        assert_eq!(reasons(parse("[0]", "dsr")), [""; 0]);
        assert!(reasons(parse("0", "dsr"))[0].starts_with("t.toml:3:"));
        let restart = reasons(parse("[0, 1]", "dsr"));
        assert_eq!(restart, ["t.toml: workers.cores changes only by a restart"]);
        assert!(reasons(parse("[0]", "nat"))[0].contains("not in this version"));
    }
}
