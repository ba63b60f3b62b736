//! What every store promises, told once and run on every database; and what the SQLite file promises besides.
#![cfg(test)]

mod harness;

mod accounts;
mod audit;
mod keys;
mod leases;
mod ports;
mod sqlite_file;
mod together;
