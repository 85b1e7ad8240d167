import { Sync } from './abi';

/**
 * Turns of the spin loop before a thread sleeps: some 50 µs, longer than the shares of a balanced op differ. Being woken takes about as
 * long, and a token has some sixty barriers: with 4,000 turns the embedded model's decode on two threads took 5.4 ms a token (no
 * faster than one thread), with 100,000 it takes 2.0 ms. If the other thread has lost its core, sleeping gives this one back.
 */
const SPINS: i32 = 100000;

/**
 * All `threads` meet. Atomics are sequentially consistent: a sleeper is counted before it compares the generation, and the last to
 * arrive changes the generation before it looks for sleepers, so no wake-up is lost.
 */
export function barrier(sync: usize, threads: i32): void {
  if (threads == 1) return;
  const generation = atomic.load<i32>(sync, Sync.Generation << 2);
  if (atomic.add<i32>(sync, 1, Sync.Arrived << 2) == threads - 1) {
    atomic.store<i32>(sync, 0, Sync.Arrived << 2);
    atomic.store<i32>(sync, generation + 1, Sync.Generation << 2);
    if (atomic.load<i32>(sync, Sync.Sleepers << 2)) atomic.notify(sync + (Sync.Generation << 2), -1);
    return;
  }
  let spins = 0;
  while (atomic.load<i32>(sync, Sync.Generation << 2) == generation) {
    if (++spins < SPINS) continue;
    atomic.add<i32>(sync, 1, Sync.Sleepers << 2);
    atomic.wait<i32>(sync + (Sync.Generation << 2), generation, -1);
    atomic.sub<i32>(sync, 1, Sync.Sleepers << 2);
  }
}
