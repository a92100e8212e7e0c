//! Schemas in files.

use ovsdb::DatabaseSchema;
use thiserror::Error;

use crate::json;

#[derive(Debug, Error)]
pub enum Error {
    #[error("failed to read schema: \"{path}\" could not be read as JSON ({why})")]
    Json { path: String, why: String },
    #[error("{}", crate::ovsdb_error(.source))]
    Schema { source: Box<ovsdb::Error> },
}

/// Reads the JSON schema in the file `path`.
pub fn read(path: &str) -> Result<DatabaseSchema, Error> {
    let refuse = |why: String| Error::Json {
        path: path.to_owned(),
        why,
    };
    let bytes = std::fs::read(path).map_err(|error| {
        refuse(format!(
            "error opening \"{path}\": {}",
            daemon::pidfile::reason(&error)
        ))
    })?;
    let json = json::parse(&bytes).map_err(refuse)?;
    DatabaseSchema::from_json(&json).map_err(|mut source| {
        let details = source.details.take().unwrap_or_default();
        source.details = Some(format!(
            "failed to parse \"{path}\" as ovsdb schema: {details}"
        ));
        Error::Schema {
            source: Box::new(source),
        }
    })
}
