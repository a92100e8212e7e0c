//! Which tables and columns a command needs to see before it can run.
//!
//! Only these are followed, so that a run costs what it asks for. Names of tables and columns are
//! checked here, before anything is sent.

use std::io::IsTerminal;

use ovsdb::replica::{Selection, SelectionError};
use ovsdb::schema::DatabaseSchema;
use thiserror::Error;

use crate::command::{Command, Mode, Verb};
use crate::database::{self, columns, is_uuid_column};
use crate::names::{self, Table, find_column, find_table};
use crate::overview;
use crate::record::{self, argument_column, row_names};

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Names(#[from] names::Error),
    #[error(transparent)]
    Record(#[from] record::Error),
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error(transparent)]
    Selection(#[from] SelectionError),
}

/// Adds to `selection` what `command` needs.
pub fn select(
    command: &Command,
    schema: &DatabaseSchema,
    selection: &mut Selection,
) -> Result<(), Error> {
    match command.syntax.verb {
        Verb::Init | Verb::Comment => Ok(()),
        Verb::Show => select_show(selection),
        Verb::EmerReset => select_reset(selection),
        Verb::DelBr => {
            select_bridges(selection)?;
            Ok(selection.column("Flow_Sample_Collector_Set", "bridge")?)
        }
        Verb::AddBr
        | Verb::ListBr
        | Verb::BrExists
        | Verb::BrToVlan
        | Verb::BrToParent
        | Verb::ListPorts
        | Verb::AddPort
        | Verb::AddBond
        | Verb::AddBondIface
        | Verb::DelBondIface
        | Verb::DelPort
        | Verb::PortToBr
        | Verb::ListIfaces
        | Verb::IfaceToBr
        | Verb::GetFailMode
        | Verb::DelFailMode
        | Verb::SetFailMode => select_bridges(selection),
        Verb::BrSetExternalId | Verb::BrGetExternalId => {
            select_bridges(selection)?;
            selection.column("Bridge", "external_ids")?;
            Ok(selection.column("Port", "external_ids")?)
        }
        Verb::AddZoneTp | Verb::DelZoneTp | Verb::ListZoneTp | Verb::ListDpCap => {
            selection.column("Open_vSwitch", "datapaths")?;
            selection.columns("Datapath", &["ct_zones", "capabilities"])?;
            selection.column("CT_Zone", "timeout_policy")?;
            Ok(selection.column("CT_Timeout_Policy", "timeouts")?)
        }
        Verb::GetController | Verb::DelController | Verb::SetController => {
            select_bridges(selection)?;
            Ok(selection.column("Controller", "target")?)
        }
        Verb::GetManager | Verb::DelManager | Verb::SetManager => {
            selection.column("Open_vSwitch", "manager_options")?;
            Ok(selection.column("Manager", "target")?)
        }
        Verb::GetSsl | Verb::DelSsl | Verb::SetSsl => {
            selection.column("Open_vSwitch", "ssl")?;
            let columns = ["private_key", "certificate", "ca_cert", "bootstrap_ca_cert"];
            Ok(selection.columns("SSL", &columns)?)
        }
        Verb::AddAaMapping | Verb::DelAaMapping | Verb::GetAaMapping => {
            select_bridges(selection)?;
            selection.column("Bridge", "auto_attach")?;
            Ok(selection.column("AutoAttach", "mappings")?)
        }
        Verb::Get => {
            if command.value("--id").is_none()
                && command.args.len() <= 2
                && std::io::stdout().is_terminal()
            {
                tracing::warn!(
                    target: "db_ctl_base",
                    "\"get\" command without row arguments or \"--id\" is possibly erroneous"
                );
            }
            let table = select_table(command, schema, selection)?;
            let arguments = command.args_from(2).iter();
            select_arguments(
                table,
                arguments.filter(|arg| !is_uuid_column(arg)),
                selection,
            )
        }
        Verb::Set | Verb::WaitUntil => {
            let table = select_table(command, schema, selection)?;
            select_arguments(table, command.args_from(2).iter(), selection)
        }
        Verb::List => {
            let table = select_table(command, schema, selection)?;
            select_columns(table, command, selection)
        }
        Verb::Find => {
            let table = select_table(command, schema, selection)?;
            select_columns(table, command, selection)?;
            select_arguments(table, command.args_from(1).iter(), selection)
        }
        Verb::Add | Verb::Remove => {
            let table = select_table(command, schema, selection)?;
            let column = find_column(table, command.arg(2))?;
            Ok(selection.column(table.name, column.name)?)
        }
        Verb::Clear => {
            let table = select_table(command, schema, selection)?;
            for name in command.args_from(2) {
                selection.column(table.name, find_column(table, name)?.name)?;
            }
            Ok(())
        }
        Verb::Create => {
            let table = find_table(schema, command.arg(0))?;
            if command.value("--id").is_none() && !table.schema.is_root {
                tracing::warn!(
                    target: "db_ctl_base",
                    "applying \"create\" command to table {} without --id option will have no \
                     effect",
                    table.name
                );
            }
            Ok(())
        }
        Verb::Destroy => select_table(command, schema, selection).map(|_| ()),
    }
}

/// What the model of bridges is made from.
fn select_bridges(selection: &mut Selection) -> Result<(), Error> {
    selection.column("Open_vSwitch", "bridges")?;
    selection.columns("Bridge", &["name", "controller", "fail_mode", "ports"])?;
    selection.columns("Port", &["name", "fake_bridge", "tag", "interfaces"])?;
    Ok(selection.columns("Interface", &["name", "ofport", "error"])?)
}

fn select_show(selection: &mut Selection) -> Result<(), Error> {
    for shown in overview::SHOWN {
        for column in shown.name.iter().chain(shown.columns) {
            selection.column(shown.table, column)?;
        }
    }
    Ok(())
}

fn select_reset(selection: &mut Selection) -> Result<(), Error> {
    for (table, columns) in overview::RESET {
        selection.columns(table, columns)?;
    }
    selection.column("Bridge", "other_config")?;
    selection.columns("Interface", overview::RESET_NUMBERS)?;
    for table in overview::RESET_TABLES {
        selection.table(table)?;
    }
    Ok(())
}

/// Tables of which a change shows in errors of interfaces.
const REPORTED: [&str; 5] = ["Bridge", "Controller", "Flow_Table", "Interface", "Port"];

/// The table of the first argument, with what its rows can be named by.
fn select_table<'s>(
    command: &Command,
    schema: &'s DatabaseSchema,
    selection: &mut Selection,
) -> Result<Table<'s>, Error> {
    let table = find_table(schema, command.arg(0))?;
    selection.table(table.name)?;
    for names in row_names(table.name) {
        selection.column(names.name_table, names.name_column)?;
        if let Some(reference) = names.reference {
            selection.column(names.name_table, reference)?;
        }
    }
    if command.syntax.mode == Mode::Rw && REPORTED.contains(&table.name) {
        // To report what became of them.
        selection.column("Port", "interfaces")?;
        selection.columns("Interface", &["name", "ofport", "error"])?;
    }
    Ok(table)
}

fn select_arguments<'a>(
    table: Table<'_>,
    arguments: impl Iterator<Item = &'a String>,
    selection: &mut Selection,
) -> Result<(), Error> {
    for argument in arguments {
        let column = argument_column(argument, table)?;
        selection.column(table.name, column.name)?;
    }
    Ok(())
}

fn select_columns(
    table: Table<'_>,
    command: &Command,
    selection: &mut Selection,
) -> Result<(), Error> {
    for column in columns(table, command.value("--columns"), |_| true)?
        .into_iter()
        .flatten()
    {
        selection.column(table.name, column.name)?;
    }
    Ok(())
}
