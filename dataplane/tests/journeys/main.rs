mod announce;
mod fates;
mod forwarding;
mod frames;
mod local;
mod neighbours;
mod transmit;
mod world;
