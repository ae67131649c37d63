//! The command `sidegate`.

/// Writes to standard output; ends the command if nobody reads it, as `head` does.
macro_rules! print {
    ($($text:tt)*) => { $crate::report::write(format_args!($($text)*)) };
}

/// The same, with an end of line.
macro_rules! line {
    ($($text:tt)*) => { print!("{}\n", format_args!($($text)*)) };
}

mod args;
mod documents;
mod effective;
mod emit;
mod explain;
mod files;
mod lint;
mod migrate;
mod render;
mod report;
mod test;
mod validate;
mod workloads;
mod yaml;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Arguments, Command, Shell};

/// Whether all is fine, or why there is no telling.
type Outcome = Result<bool, String>;

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Render(arguments) => render::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Migrate(arguments) => migrate::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Completions { shell } => completions(shell),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            anstream::eprintln!("sidegate: {}", report::printable(&message));
            ExitCode::from(2)
        }
    }
}

fn completions(shell: Shell) -> Outcome {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "sidegate", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(true)
}
