//! Stock tools, clients in Python, and our own client library against db-server; files to the
//! stock server and back.

mod files;
mod ours;
mod python;
mod server;
mod stock;
mod switch;
