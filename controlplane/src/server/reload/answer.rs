//! Operators' questions about the configuration.

use super::{Asked, Candidate, Question, Reasons, Reloader, read};
use crate::{
    command::Reloaded,
    config::{Config, diff::Diff},
};
use tether_api::operator::{
    ConfigApplied, ConfigCheck, ConfigDiff, ConfigFile, ConfigText, Failure, Payload, Response,
};

impl Reloader {
    pub(super) async fn answer(&mut self, asked: Asked) {
        let answer = match asked.question {
            Question::Check(file) => Ok(Payload::ConfigCheck(self.check(file).await)),
            Question::Diff(file) => self.diff(file).await.map(Payload::ConfigDiff),
            Question::Apply(file) => {
                let applied = self.apply(asked.uid, file).await;
                applied.map(Payload::ConfigApplied)
            }
            Question::Show => Ok(Payload::Config(ConfigText {
                text: self.config.to_toml(),
            })),
        };
        let answer = answer.map_or_else(|reasons| refusal(&reasons), Response::Ok);
        // Err: the operator has gone.
        let _ = asked.reply.send(answer);
    }

    async fn check(&self, file: ConfigFile) -> ConfigCheck {
        let read = parse(file).await;
        let warnings = read.as_ref().map(|it| it.warnings.clone());
        let warnings = warnings.unwrap_or_default();
        let compared = match read {
            Ok(candidate) => self.compare(candidate.config).await,
            Err(problems) => Err(problems),
        };
        let problems = compared.map_or_else(|problems| problems, |compared| compared.refused);
        ConfigCheck {
            ok: problems.is_empty(),
            problems,
            warnings,
        }
    }

    async fn diff(&self, file: ConfigFile) -> Result<ConfigDiff, Reasons> {
        let candidate = parse(file).await?;
        let compared = self.compare(candidate.config).await?;
        Ok(ConfigDiff {
            changes: compared.changes,
            refused: compared.refused,
        })
    }

    async fn apply(&mut self, uid: u32, file: ConfigFile) -> Result<ConfigApplied, Reasons> {
        let name = file.name.clone();
        let candidate = parse(file).await?;
        let Reloaded { changes, ended } = self.take_over(candidate).await?;
        log::info!(
            "operator {uid}: {name} is applied: {} changes, {ended} affinities have ended",
            changes.len()
        );
        Ok(ConfigApplied {
            changes,
            affinities_ended: ended as u64,
            file: self.file.display().to_string(),
            file_agrees: self.file_agrees().await,
        })
    }

    /// Whether the daemon's own file says what is in force.
    async fn file_agrees(&self) -> bool {
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || Config::load(&file)).await;
        let read = read.ok().and_then(Result::ok);
        read.is_some_and(|read| Diff::between(&read, &self.config).is_empty())
    }
}

async fn parse(file: ConfigFile) -> Result<Candidate, Reasons> {
    read(move || Config::parse(&file.name, &file.text)).await
}

fn refusal(reasons: &[String]) -> Response {
    Response::Error(Failure {
        message: reasons.join("\n"),
        hint: Some("nothing was changed".to_owned()),
    })
}
