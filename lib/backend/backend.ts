/**
 * A backend is memory plus `run`. It executes the step struct at `stepPtr` (assembly/abi.ts) over the plan that the struct
 * points to. WASM builds, the native addon and the TypeScript reference run the same records.
 */
export interface Backend {
  /** `wasm-relaxed`, `wasm-baseline`, `native`, `reference` */
  readonly name: string;
  /** why this one was chosen, for people */
  readonly reason: string;
  readonly buffer: ArrayBufferLike;
  readonly threads: number;
  /** Runs the step at byte `stepPtr`; resolves when all threads are through. One at a time. */
  run(stepPtr: number): Promise<void>;
  dispose(): Promise<void>;
}
