//! The real program, as operators and clients meet it: processes, signals, files, HTTP.

#![allow(clippy::unwrap_used)]

mod support;

mod attention;
mod audiences;
mod callback;
mod canary;
mod check;
mod clock;
mod copies;
mod crash;
mod damage;
mod disk;
mod entrances;
mod hostile;
mod inspect;
mod kill_loop;
mod leader;
mod logging;
mod mend;
mod notify;
mod openapi;
mod pages;
mod power;
mod pulls;
mod readme;
mod rehearsal;
mod relay;
mod slow_copies;
mod stop;
mod tasks;
mod token_service;
mod unreadable;
