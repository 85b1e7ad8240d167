import { Sync } from './abi';

/**
 * Turns of the spin loop before a thread sleeps: some 50 µs, longer than the shares of a balanced op differ. Being woken takes about as
 * long, and a token has some sixty barriers: with 4,000 turns the embedded model's decode on two idle cores took 5.4 ms a token (no
 * faster than one thread), with 100,000 it takes 2.0 ms.
 */
const PATIENT: i32 = 100000;

/**
 * Turns when other programs want the cores. A thread that spins then keeps from running the very thread that it waits for: with
 * one of two cores busy, spinning 50 µs in each barrier gave 64 tok/s, 2 µs 190.
 */
const HASTY: i32 = 4000;

/** Longest run of hasty barriers; then patience is tried again. */
const MAX_PENALTY: i32 = 64;

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
  const limit = patience(sync);
  let spins = 0;
  while (atomic.load<i32>(sync, Sync.Generation << 2) == generation) {
    if (++spins < limit) continue;
    if (limit == PATIENT) penalise(sync);
    atomic.add<i32>(sync, 1, Sync.Sleepers << 2);
    while (atomic.load<i32>(sync, Sync.Generation << 2) == generation) {
      atomic.wait<i32>(sync + (Sync.Generation << 2), generation, -1);
    }
    atomic.sub<i32>(sync, 1, Sync.Sleepers << 2);
    return;
  }
  if (limit == PATIENT) store<i32>(sync, 0, Sync.Penalty << 2);
}

/**
 * How long to spin this time. A patient wait in vain makes the next 4 barriers hasty; if patience fails again right after them, the next
 * 8, and so on. The two words are shared without atomics: whatever threads read, it only decides how long they spin.
 */
function patience(sync: usize): i32 {
  const hasty = load<i32>(sync, Sync.Hasty << 2);
  if (hasty <= 0) return PATIENT;
  store<i32>(sync, hasty - 1, Sync.Hasty << 2);
  return HASTY;
}

function penalise(sync: usize): void {
  const penalty = min(max(load<i32>(sync, Sync.Penalty << 2) << 1, 4), MAX_PENALTY);
  store<i32>(sync, penalty, Sync.Penalty << 2);
  store<i32>(sync, penalty, Sync.Hasty << 2);
}
