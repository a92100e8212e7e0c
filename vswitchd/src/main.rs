mod bridge;
mod netdev;
fn main() {}
