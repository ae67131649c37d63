//! `./build.sh demo [--keep]`.

use std::process::ExitCode;

use sidegate_tests::demo;
use sidegate_tests::envoy::Paths;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let keep = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => false,
        ["--keep"] => true,
        _ => {
            eprintln!("usage: demo [--keep]");
            return ExitCode::FAILURE;
        }
    };
    let Some(paths) = Paths::from_env() else { return ExitCode::FAILURE };
    match demo::run(&paths, keep, &mut std::io::stdout()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}
