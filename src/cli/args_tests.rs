//! Tests of the grammar.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_lists_its_exit_codes() {
    for command in Cli::command().get_subcommands() {
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains("Exit status:\n  0    done"), "{}:\n{help}", command.get_name());
    }
}

#[test]
fn command_names_are_those_of_the_grammar() {
    for (line, name) in [
        ("store init", "init"),
        ("store import x", "import"),
        ("store get x", "get"),
        ("store history x", "history"),
        ("store delete x", "delete"),
        ("store runs", "runs"),
        ("store restore --plan", "restore"),
        ("store manifest", "manifest"),
        ("store check", "check"),
        ("store stats", "stats"),
        ("store dump 1", "dump"),
        ("store bench", "bench"),
        ("store completions bash", "completions"),
        ("store man", "man"),
    ] {
        assert_eq!(parse(line).unwrap().command.name(), name, "{line}");
    }
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    for line in ["store -s /x --json -vv runs", "store runs -s /x --json -vv"] {
        let cli = parse(line).unwrap();
        assert_eq!(cli.global.store, PathBuf::from("/x"));
        assert!(cli.global.json && cli.global.verbose == 2);
    }
    assert_eq!(parse("store runs").unwrap().global.store, PathBuf::from("./opencti.store"));
    let waits = parse("store --lock-wait 1.5 runs").unwrap();
    assert_eq!(waits.global.lock_wait, Duration::from_millis(1500));
}

#[test]
fn mirror_takes_its_value_only_after_an_equals_sign() {
    let mirror = |line: &str| {
        let Command::Import(args) = parse(line).unwrap().command else { panic!("not an import") };
        (args.mirror, args.source)
    };
    assert_eq!(mirror("store import x"), (MirrorArg::No, "x".into()));
    assert_eq!(mirror("store import --mirror x"), (MirrorArg::Yes, "x".into()));
    assert_eq!(mirror("store import --mirror=force x"), (MirrorArg::Force, "x".into()));
    assert!(parse("store import --mirror=perhaps x").is_err());
}

#[test]
fn restore_wants_exactly_one_product() {
    for line in ["store restore", "store restore --plan --tree x", "store restore --tree x --bundles -"] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    let Command::Restore(args) = parse("store restore --bundles - --max-bundle-bytes 2M").unwrap().command
    else {
        panic!("not a restore");
    };
    assert_eq!((args.resolve, args.max_bundle_bytes), (ResolveArg::Once, 2 << 20));
    let Command::Restore(args) = parse("store restore --plan").unwrap().command else {
        panic!("not a restore");
    };
    assert_eq!(args.max_bundle_bytes, 8 << 20);
}

#[test]
fn get_takes_at_most_one_point_in_time() {
    assert!(parse("store get x --at 20240115T140000Z --after 20240115T140000Z").is_err());
    let Command::Get(args) = parse("store get x --after 20240115T140000Z --raw").unwrap().command else {
        panic!("not a get");
    };
    assert!(args.raw && args.at.is_none() && args.after.is_some());
    assert!(parse("store get x --run yesterday").is_err());
}

#[test]
fn a_reader_that_leaves_early_only_matters_where_output_is_proof() {
    for (line, may) in [
        ("store get x", true),
        ("store history x", true),
        ("store runs", true),
        ("store ls 20240115T140000Z", true),
        ("store dump 1", true),
        ("store stats", true),
        ("store manifest", false),
        ("store check", false),
        ("store import x", false),
        ("store restore --bundles -", false),
    ] {
        assert_eq!(parse(line).unwrap().command.may_lose_its_reader(), may, "{line}");
    }
}

#[test]
fn a_repair_that_was_asked_for_is_of_all_that_is_found() {
    for more in ["--shard 1/2", "--resume x", "--max-duration 1", "--record x --max-age 1d"] {
        assert!(parse(&format!("store check {more}")).is_ok(), "{more}");
        assert!(parse(&format!("store check --repair {more}")).is_err(), "{more}");
    }
    for line in ["store check --max-age 1d", "store repair --allow-incomplete", "store check --shard 0/2"] {
        assert!(parse(line).is_err(), "{line}");
    }
}
