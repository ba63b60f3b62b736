//! What every store promises, told once and run on every database; and what the SQLite file promises besides.
#![cfg(test)]

mod harness;

mod accounts;
mod agent;
mod audit;
mod authority;
mod keys;
mod leases;
mod ports;
mod sign_in;
mod sqlite_file;
mod together;
mod traffic;
