//! Carrying out the commands of one run, all in one transaction.

use thiserror::Error;

use crate::command::{Command, Verb};
use crate::context::{Context, Output};
use crate::{bridge, control, database, overview, port, prerequisites, symbols, zone};

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Bridge(#[from] bridge::Error),
    #[error(transparent)]
    Port(#[from] port::Error),
    #[error(transparent)]
    Control(#[from] control::Error),
    #[error(transparent)]
    Zone(#[from] zone::Error),
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error(transparent)]
    Prerequisites(#[from] prerequisites::Error),
    #[error(transparent)]
    Symbols(#[from] symbols::Error),
    /// `br-exists` found none: an exit status and no message.
    #[error("")]
    NoSuchBridge,
}

/// What became of an attempt to run all commands.
#[derive(Debug)]
pub enum Attempt {
    /// A `wait-until` does not hold yet.
    NotYet,
    /// One output per command.
    Done(Vec<Output>),
}

/// Runs all commands in order.
pub fn run_all(ctx: &mut Context<'_>, commands: &[Command]) -> Result<Attempt, Error> {
    let mut outputs = Vec::new();
    for command in commands {
        match run(ctx, command)? {
            Some(output) => outputs.push(output),
            None => return Ok(Attempt::NotYet),
        }
    }
    for warning in ctx.symbols.check()? {
        tracing::warn!(target: "vsctl", "{warning}");
    }
    Ok(Attempt::Done(outputs))
}

/// `None` when the command has to wait.
fn run(ctx: &mut Context<'_>, command: &Command) -> Result<Option<Output>, Error> {
    let output = match command.syntax.verb {
        Verb::Init | Verb::Comment => Output::default(),
        Verb::Show => overview::show(ctx),
        Verb::EmerReset => overview::emer_reset(ctx),
        Verb::AddBr => bridge::add_br(ctx, command)?,
        Verb::DelBr => bridge::del_br(ctx, command)?,
        Verb::ListBr => bridge::list_br(ctx, command),
        Verb::BrExists => match ctx.bridge(command.arg(0)) {
            Some(_) => Output::default(),
            None => return Err(Error::NoSuchBridge),
        },
        Verb::BrToVlan => bridge::br_to_vlan(ctx, command)?,
        Verb::BrToParent => bridge::br_to_parent(ctx, command)?,
        Verb::BrSetExternalId => bridge::br_set_external_id(ctx, command)?,
        Verb::BrGetExternalId => bridge::br_get_external_id(ctx, command)?,
        Verb::ListPorts => port::list_ports(ctx, command)?,
        Verb::AddPort => port::add_port(ctx, command)?,
        Verb::AddBond => port::add_bond(ctx, command)?,
        Verb::AddBondIface => port::add_bond_iface(ctx, command)?,
        Verb::DelBondIface => port::del_bond_iface(ctx, command)?,
        Verb::DelPort => port::del_port(ctx, command)?,
        Verb::PortToBr => port::port_to_br(ctx, command)?,
        Verb::ListIfaces => port::list_ifaces(ctx, command)?,
        Verb::IfaceToBr => port::iface_to_br(ctx, command)?,
        Verb::AddZoneTp => zone::add_zone_tp(ctx, command)?,
        Verb::DelZoneTp => zone::del_zone_tp(ctx, command)?,
        Verb::ListZoneTp => zone::list_zone_tp(ctx, command)?,
        Verb::ListDpCap => zone::list_dp_cap(ctx, command)?,
        Verb::GetController => control::get_controller(ctx, command)?,
        Verb::DelController => control::del_controller(ctx, command)?,
        Verb::SetController => control::set_controller(ctx, command)?,
        Verb::GetFailMode => control::get_fail_mode(ctx, command)?,
        Verb::DelFailMode => control::del_fail_mode(ctx, command)?,
        Verb::SetFailMode => control::set_fail_mode(ctx, command)?,
        Verb::GetManager => control::get_manager(ctx),
        Verb::DelManager => control::del_manager(ctx),
        Verb::SetManager => control::set_manager(ctx, command)?,
        Verb::GetSsl => control::get_ssl(ctx),
        Verb::DelSsl => control::del_ssl(ctx),
        Verb::SetSsl => control::set_ssl(ctx, command),
        Verb::AddAaMapping => control::add_aa_mapping(ctx, command)?,
        Verb::DelAaMapping => control::del_aa_mapping(ctx, command)?,
        Verb::GetAaMapping => control::get_aa_mapping(ctx, command)?,
        Verb::Get => database::get(ctx, command)?,
        Verb::List => database::list(ctx, command)?,
        Verb::Find => database::find(ctx, command)?,
        Verb::Set => database::set(ctx, command)?,
        Verb::Add => database::add(ctx, command)?,
        Verb::Remove => database::remove(ctx, command)?,
        Verb::Clear => database::clear(ctx, command)?,
        Verb::Create => database::create(ctx, command)?,
        Verb::Destroy => database::destroy(ctx, command)?,
        Verb::WaitUntil => return Ok(database::wait_until(ctx, command)?),
    };
    Ok(Some(output))
}
