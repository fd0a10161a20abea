mod forwarding;
mod frames;
mod world;
