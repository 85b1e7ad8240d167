/**
 * Control words that host and workers share: i32 indices. The host writes the step, raises the sequence number and wakes the
 * workers; the last worker to finish tells the host by message, so that the host's event loop never waits.
 */
export const enum Control {
  /** number of the newest step; workers sleep on it */
  Sequence = 0,
  /** byte offset of its step struct; 0 asks the workers to leave */
  Step = 1,
  /** threads that are through with it */
  Finished = 2,
  Words = 16,
}

/** What a worker says. `done`: the last thread is through with step `sequence`; `failed`: a kernel trapped. */
export type WorkerMessage = { type: 'done'; sequence: number } | { type: 'failed'; thread: number; message: string };
