//! Which of the two programs a command line is for.

use std::fs::File;
use std::io::Read as _;

use thiserror::Error;

use crate::{client, file};

/// What this program is, by the name that it was started under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    /// `ovsdb-tool`.
    Tool,
    /// `ovsdb-client`.
    Client,
    /// Any other name.
    Both,
}

impl Personality {
    pub fn of(program: &str) -> Self {
        match program {
            "ovsdb-tool" => Self::Tool,
            "ovsdb-client" => Self::Client,
            _ => Self::Both,
        }
    }
}

/// What a command works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// A database file, as ovsdb-tool does.
    File,
    /// A database server, as ovsdb-client does.
    Server,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("'{0}' could be meant for a file or for a server: say --file or --server before it")]
    Ambiguous(String),
    #[error("'{0}' is a command for files, not for servers")]
    NotForServers(String),
    #[error("'{0}' is a command for servers, not for files")]
    NotForFiles(String),
}

/// Whether `text` looks like a connection method; the rule of ovsdb-client.
pub fn is_remote(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.contains(':')
}

/// Says what the command `name` works on; `None` when there is no such command.
///
/// Of a command that both programs have: a connection method as the first argument means a server;
/// a database file as the first argument means that file; a transaction alone is for the default
/// server; a schema file alone is for the default server; two arguments of which the first is no
/// connection method are for a file. Everything else has to be said.
pub fn face(
    personality: Personality,
    said: Option<Face>,
    name: &str,
    args: &[String],
) -> Result<Option<Face>, Error> {
    let for_files = file::is_command(name);
    let for_servers = client::is_command(name);
    match (personality, said) {
        (Personality::Tool, _) => return Ok(for_files.then_some(Face::File)),
        (Personality::Client, _) => return Ok(for_servers.then_some(Face::Server)),
        (Personality::Both, Some(Face::File)) if for_servers && !for_files => {
            return Err(Error::NotForFiles(name.to_owned()));
        }
        (Personality::Both, Some(Face::Server)) if for_files && !for_servers => {
            return Err(Error::NotForServers(name.to_owned()));
        }
        (Personality::Both, _) => {}
    }
    Ok(match (for_files, for_servers) {
        (false, false) => None,
        (true, false) => Some(Face::File),
        (false, true) => Some(Face::Server),
        (true, true) => match said.or_else(|| guess(name, args)) {
            None => return Err(Error::Ambiguous(name.to_owned())),
            found => found,
        },
    })
}

fn guess(name: &str, args: &[String]) -> Option<Face> {
    let first = args.first()?;
    if is_remote(first) && !std::path::Path::new(first).exists() {
        return Some(Face::Server);
    }
    let transaction = matches!(name, "transact" | "query");
    match args {
        [_] if transaction => Some(Face::Server),
        [path] => match starts_as_database(path) {
            Some(true) => Some(Face::File),
            Some(false) => Some(Face::Server),
            None => None,
        },
        _ => Some(Face::File),
    }
}

/// Whether the file begins as a database does; `None` when it cannot be read.
fn starts_as_database(path: &str) -> Option<bool> {
    let mut start = [0; 6];
    let mut file = File::open(path).ok()?;
    match file.read_exact(&mut start) {
        Ok(()) => Some(start == *b"OVSDB "),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(said: Option<Face>, line: &str) -> Result<Option<Face>, Error> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        face(Personality::Both, said, &words[0], &words[1..])
    }

    #[test]
    fn by_name_argument_and_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str, contents: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, contents).unwrap();
            path.display().to_string()
        };
        let db = path("db", "OVSDB JSON 5 ");
        let schema = path("schema", "{}");
        for (line, expected) in [
            ("compact", Some(Face::File)),
            ("dump", Some(Face::Server)),
            ("frob", None),
            ("transact [\"x\"]", Some(Face::Server)),
            ("query unix:x [\"x\"]", Some(Face::Server)),
            ("query nothing [\"x\"]", Some(Face::File)),
            (&format!("convert {db}"), Some(Face::File)),
            (&format!("convert {schema}"), Some(Face::Server)),
            (&format!("convert {db} {schema}"), Some(Face::File)),
            (
                &format!("needs-conversion tcp:x {schema}"),
                Some(Face::Server),
            ),
        ] {
            assert_eq!(choose(None, line), Ok(expected), "{line}");
        }
        for line in ["convert", "convert /nothing", "transact"] {
            let name = line.split(' ').next().unwrap().to_owned();
            assert_eq!(choose(None, line), Err(Error::Ambiguous(name)), "{line}");
        }
        assert_eq!(choose(Some(Face::File), "convert"), Ok(Some(Face::File)));
        assert_eq!(
            choose(Some(Face::Server), "convert"),
            Ok(Some(Face::Server))
        );
        assert!(choose(Some(Face::Server), "compact").is_err());
        assert!(choose(Some(Face::File), "dump").is_err());
    }

    #[test]
    fn under_the_names_of_the_stock_programs() {
        let args = ["unix:x".to_owned(), "[]".to_owned()];
        let tool = Personality::of("ovsdb-tool");
        let client = Personality::of("ovsdb-client");
        assert_eq!(face(tool, None, "query", &args), Ok(Some(Face::File)));
        assert_eq!(face(client, None, "query", &[]), Ok(Some(Face::Server)));
        assert_eq!(face(tool, None, "dump", &args), Ok(None));
        assert_eq!(face(client, None, "compact", &args), Ok(None));
    }
}
