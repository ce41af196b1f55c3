//! Putting the settings together: file, variables of Nacos, own variables, flags, `--set`.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail};
use config::{Environment, File, FileFormat};

use super::official::translate;
use super::variables::{Translation, Variables};
use super::{Arguments, Config};

impl Config {
    /// Reads the settings the command line asks for, with the environment of this process.
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML, an unknown key, a value of the wrong type or out
    /// of its range; the text is one line and names the culprit.
    pub fn load(arguments: &Arguments) -> Result<Self> {
        Self::load_with(arguments, None).map_err(one_line)
    }

    /// What to tell the operator about variables of the image of Nacos, a line each; nothing unless
    /// they are asked for.
    pub fn environment_notes(arguments: &Arguments) -> Vec<String> {
        let translation = translate_environment(arguments, None);
        translation.map(|translation| translation.notes).unwrap_or_default()
    }

    /// The settings as TOML.
    ///
    /// # Errors
    /// None that is known: every setting has a TOML form.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }

    fn load_with(
        arguments: &Arguments,
        environment: Option<HashMap<String, String>>,
    ) -> Result<Self> {
        let mut builder = config::Config::builder().set_default("data.in_memory", false)?;
        if let Some(path) = &arguments.config {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            // Parsed once by itself: the merged settings no longer know where a key came from.
            let source = File::from_str(&text, FileFormat::Toml);
            parse(config::Config::builder().add_source(source.clone()))
                .with_context(|| format!("in {}", path.display()))?;
            builder = builder.add_source(source);
        }
        let translation = translate_environment(arguments, environment.as_ref())?;
        let mut translated = config::Config::builder();
        for (key, value) in translation.settings {
            translated = translated.set_override(key, value)?;
        }
        parse(translated.clone()).context("in a variable of the image of Nacos")?;
        builder = builder.add_source(translated.build()?);
        let variables = Environment::with_prefix("NAMING")
            .prefix_separator("_")
            .separator("__")
            .ignore_empty(true)
            .source(environment);
        parse(config::Config::builder().add_source(variables.clone()))
            .context("in a NAMING_ variable of the environment")?;
        builder = builder.add_source(variables);

        for (key, value) in flags(arguments) {
            builder = builder.set_override(key, value)?;
        }
        for setting in &arguments.settings {
            let Some((key, value)) = setting.split_once('=') else {
                bail!("--set needs KEY=VALUE, not {setting:?}");
            };
            let (key, value) = (key.trim(), value.trim());
            parse(config::Config::builder().set_override(key, value)?)
                .with_context(|| format!("in --set {}", shown(setting)))?;
            builder = builder.set_override(key, value)?;
        }
        let config = parse(builder)?;
        config.check()?;
        Ok(config)
    }
}

/// What the variables of the image of Nacos say, if somebody wants to know. `environment` stands for
/// that of this process.
fn translate_environment(
    arguments: &Arguments,
    environment: Option<&HashMap<String, String>>,
) -> Result<Translation> {
    if !arguments.nacos_env {
        return Ok(Translation::default());
    }
    let variables: Variables = match environment {
        Some(given) => given.clone().into_iter().collect(),
        None => std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    };
    translate(&variables, &host_name(&variables))
}

/// What this machine, container or pod is called; empty if nobody says.
fn host_name(variables: &Variables) -> String {
    const FILE: &str = "/proc/sys/kernel/hostname";
    let name = variables.get("HOSTNAME").cloned();
    let name = name.or_else(|| std::fs::read_to_string(FILE).ok()).unwrap_or_default();
    name.trim().to_owned()
}

/// A setting as it may be shown: not the key of tokens, nor what members prove themselves by.
fn shown(setting: &str) -> &str {
    let is_secret = |key: &str| {
        key.contains("token_key") || key.contains("identity_value") || key == "cluster.secret"
    };
    setting.split_once('=').filter(|(key, _)| is_secret(key)).map_or(setting, |(key, _)| key)
}

fn parse(builder: config::ConfigBuilder<config::builder::DefaultState>) -> Result<Config> {
    Ok(builder.build()?.try_deserialize()?)
}

/// The flags that stand for a key.
fn flags(arguments: &Arguments) -> Vec<(&'static str, String)> {
    let mut flags = Vec::new();
    if let Some(bind) = &arguments.bind {
        flags.push(("bind", bind.clone()));
    }
    if let Some(port) = arguments.port {
        flags.push(("port", port.to_string()));
    }
    if let Some(address) = &arguments.advertise {
        flags.push(("advertise", address.clone()));
    }
    if let Some(members) = &arguments.members {
        flags.push(("cluster.members", members.clone()));
    }
    if let Some(path) = &arguments.secret_file {
        flags.push(("cluster.secret_file", path.display().to_string()));
    }
    if let Some(path) = &arguments.data_dir {
        flags.push(("data.dir", path.display().to_string()));
    }
    if arguments.in_memory {
        flags.push(("data.in_memory", "true".to_owned()));
    }
    if let Some(format) = arguments.log_format {
        flags.push(("log.format", format!("{format:?}").to_lowercase()));
    }
    flags
}

/// The chain of causes as one line; TOML errors draw a picture over several.
fn one_line(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    let line: Vec<_> = text.split_whitespace().collect();
    anyhow!("bad configuration: {}", line.join(" "))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::LogFormat;

    fn load(
        file: &str,
        environment: &[(&str, &str)],
        settings: &[&str],
        flags: Arguments,
    ) -> Result<Config> {
        let mut path = tempfile::NamedTempFile::new()?;
        path.write_all(file.as_bytes())?;
        let arguments = Arguments {
            config: Some(path.path().to_owned()),
            settings: settings.iter().map(|setting| (*setting).to_owned()).collect(),
            ..flags
        };
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = environment.iter().map(pair).collect();
        Config::load_with(&arguments, Some(environment)).map_err(one_line)
    }

    #[test]
    fn the_later_source_wins() {
        let file = "port = 1\n[http]\nmax_connections = 1\nbody_timeout_ms = 101\n\
                    header_timeout_ms = 102\n[log]\nlevel = \"warn\"";
        let environment = [
            ("NAMING_PORT", "2"),
            ("NAMING_HTTP__MAX_CONNECTIONS", "2"),
            ("NAMING_HTTP__BODY_TIMEOUT_MS", "201"),
            ("NAMING_EVENTS__CAPACITY", ""),
            ("OTHER_PORT", "9"),
        ];
        let flags = Arguments {
            port: Some(3),
            bind: Some("::1".to_owned()),
            log_format: Some(LogFormat::Json),
            ..Arguments::default()
        };
        let set = ["http.max_connections=4", "health.expire_instances = false", "log.level=debug"];
        let config = load(file, &environment, &set, flags).unwrap();
        assert_eq!(config.port, 3);
        assert_eq!(config.bind, "::1");
        assert_eq!(config.http.max_connections, 4);
        assert_eq!(config.http.body_timeout_ms, 201);
        assert_eq!(config.http.header_timeout_ms, 102);
        assert_eq!(config.http.idle_timeout_ms, 90_000);
        assert!(!config.health.expire_instances);
        assert_eq!(config.log.level, "debug");
        assert_eq!(config.log.format, LogFormat::Json);
        assert_eq!(config.events.capacity, 16_384);
    }

    #[test]
    fn a_typo_is_refused_wherever_it_is() {
        let plain = Arguments::default;
        let refused = |result: Result<Config>| result.unwrap_err().to_string();
        let text = refused(load("[http]\nmax_conections = 1", &[], &[], plain()));
        assert!(text.contains("max_conections") && !text.contains('\n'), "{text}");
        let text = refused(load("", &[("NAMING_HTTP__MAX_CONECTIONS", "1")], &[], plain()));
        assert!(text.contains("max_conections") && text.contains("NAMING_"), "{text}");
        let text = refused(load("", &[("NAMING_PROT", "1")], &[], plain()));
        assert!(text.contains("prot"), "{text}");
        let text = refused(load("", &[], &["http.max_conections=1"], plain()));
        assert!(text.contains("--set http.max_conections=1"), "{text}");
        let text = refused(load("", &[], &["port"], plain()));
        assert!(text.contains("KEY=VALUE"), "{text}");
    }

    #[test]
    fn wrong_types_and_ranges_name_the_key() {
        let plain = Arguments::default;
        let refused = |result: Result<Config>| result.unwrap_err().to_string();
        let text = refused(load("port = \"x\"", &[], &[], plain()));
        assert!(text.contains("port"), "{text}");
        let text = refused(load("", &[], &["port=70000"], plain()));
        assert!(text.contains("port"), "{text}");
        let text = refused(load("", &[], &["http.max_connections=-1"], plain()));
        assert!(text.contains("http.max_connections"), "{text}");
        let text = refused(load("", &[], &["events.capacity=0"], plain()));
        assert!(text.contains("events.capacity must be from 1"), "{text}");
        let text = refused(load("", &[], &["health.check_networks=10.0.0.0/8,x"], plain()));
        assert!(text.contains("health.check_networks") && text.contains("\"x\""), "{text}");
        let text = refused(load("", &[], &["log.format=xml"], plain()));
        assert!(text.contains("log.format"), "{text}");
        let text = refused(load("port = = 1", &[], &[], plain()));
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn the_program_keeps_data_on_disk_unless_it_is_told_otherwise() {
        let plain = Arguments::default;
        let config = load("", &[], &[], plain()).unwrap();
        assert_eq!((config.data.in_memory, &*config.data.dir), (false, ""));
        let flags = Arguments { in_memory: true, ..plain() };
        assert!(load("[data]\nin_memory = false", &[], &[], flags).unwrap().data.in_memory);
        let flags = Arguments { data_dir: Some("/x y".into()), ..plain() };
        let config = load("[data]\ndir = \"/z\"", &[], &[], flags).unwrap();
        assert_eq!((config.data.in_memory, &*config.data.dir), (false, "/x y"));
        let variable = [("NAMING_DATA__IN_MEMORY", "true")];
        assert!(load("", &variable, &[], plain()).unwrap().data.in_memory);
        assert!(Config::default().data.in_memory, "for programs around the library");
    }

    #[test]
    fn printed_settings_can_be_read_back() {
        let mut config = Config { bind: "[::1]".to_owned(), ..Config::default() };
        config.registry.protect_at_zero = false;
        config.health.check_networks = "10.0.0.0/8, fd00::/8".parse().unwrap();
        let again = load(&config.to_toml().unwrap(), &[], &[], Arguments::default()).unwrap();
        assert_eq!(again, config);
    }
}
