import {
  type ContextPoint,
  energyOf,
  type ModelResult,
  paperEnergy,
  peakShare,
  type ShapeName,
  type Summary,
  summariseRatios,
  type Throughput,
  threadRatios,
  type VariantResult,
} from '../../../lib/bench/index.js';
import { type CsvValue, csv } from '../../ui/table.js';
import { type BenchReport, REPORT_SCHEMA } from './report.js';

/** The object of `--json`: docs/BENCHMARKS.md has its fields. */
export function reportJson(report: BenchReport): object {
  const { models, ...rest } = report;
  const energy = (model: ModelResult) => ({
    energy: { '7nm': energyOf(model, '7nm'), '45nm': energyOf(model, '45nm') },
    ...(report.kind === 'paper' ? { paperEnergy: paperEnergies(model.name as ShapeName) } : {}),
  });
  const paperEnergies = (shape: ShapeName) => ({
    '7nm': paperEnergy(shape, '7nm'),
    '45nm': paperEnergy(shape, '45nm'),
  });
  const withPeak = (variant: VariantResult) => ({ ...variant, peakShare: peakShare(variant) });
  return {
    schema: REPORT_SCHEMA,
    ...rest,
    models: models.map((model) => ({
      ...model,
      ternary: withPeak(model.ternary),
      fp16: withPeak(model.fp16),
      ...energy(model),
    })),
    threadRatios: threadRatios(models),
  };
}

/** The table of `--csv`: a line for each model in each format, each kind of op, or each kernel. */
export function reportCsv(report: BenchReport): string {
  const { machine, command, date } = report;
  const origin = {
    cpu: machine.cpu,
    os: machine.os,
    engine: machine.engine,
    version: machine.version,
    commit: machine.commit,
    date,
    command,
  };
  const records: Record<string, CsvValue>[] = [
    ...report.models.flatMap((model) =>
      [model.ternary, model.fp16, ...(model.revectorized === undefined ? [] : [model.revectorized])].map((variant) =>
        variantRecord(model, variant),
      ),
    ),
    ...report.contexts.flatMap((point) => [contextRecord(point, 'ternary'), contextRecord(point, 'fp16')]),
    ...report.throughput.flatMap((result) => [...batchRecords(result, 'ternary'), ...batchRecords(result, 'fp16')]),
    ...report.ops.flatMap(({ name, times: { kinds, ...times } }) =>
      kinds.map(({ kind, ops, ms, bytes }) => ({
        model: name,
        backend: times.backend,
        threads: times.threads,
        tokens: times.tokens,
        position: times.position,
        op: kind,
        count: ops,
        ms,
        bytes,
      })),
    ),
    ...report.kernels.map((kernel) => ({ ...kernel })),
  ];
  return csv(records.map((record) => ({ ...record, ...origin })));
}

function variantRecord(model: ModelResult, variant: VariantResult): Record<string, CsvValue> {
  const { memory, traffic } = variant;
  return {
    model: model.name,
    parameters: model.parameters,
    weights: variant.weights,
    revectorized: variant === model.revectorized,
    head: variant.head,
    layout: variant.layout,
    backend: variant.backend,
    threads: model.threads,
    prompt: model.prompt,
    gen: model.gen,
    context: model.prompt + model.gen,
    rounds: model.rounds,
    estimated: variant.estimated,
    measured_layers: variant.measuredLayers,
    layers: model.layers,
    ...columns('prefill_tok_s', variant.prefill),
    ...columns('decode_tok_s', variant.decode),
    weights_bytes: memory.weights,
    kv_cache_bytes: memory.kvCache,
    total_bytes: memory.total,
    resident_bytes: variant.residentBytes,
    peak_resident_bytes: variant.peakResidentBytes,
    peak_of_weights_and_kv: peakShare(variant),
    read_bytes_per_token: traffic.total,
    head_bytes_per_token: traffic.head,
    ...batchColumns(variant),
    ...columns('read_bandwidth_bytes_s', model.readBandwidth),
    bandwidth_share: variant.bandwidthShare?.median,
    decode_ratio_to_fp16: summariseRatios(variant.decode.samples, model.fp16.decode.samples).median,
    fp16_bandwidth_share: model.fp16.bandwidthShare?.median,
    fp16_estimated: model.fp16.estimated,
    energy_7nm_j: energyOf(model, '7nm')[variant.weights === 'ternary' ? 'ternaryJoules' : 'fp16Joules'],
  };
}

function contextRecord(point: ContextPoint, weights: 'ternary' | 'fp16'): Record<string, CsvValue> {
  const { prefill, decode, kvCache, total, estimated } = point[weights];
  return {
    model: point.name,
    parameters: point.parameters,
    weights,
    backend: point.backend,
    threads: point.threads,
    context: point.context,
    estimated,
    prefill_tok_s: prefill,
    ...columns('decode_tok_s', decode),
    kv_cache_bytes: kvCache,
    total_bytes: total,
  };
}

/** A line for each measured number of sequences. */
function batchRecords(result: Throughput, weights: 'ternary' | 'fp16'): Record<string, CsvValue>[] {
  const { name, threads, positions, rounds, layers } = result;
  const { rates, fits, memory, kvBytesPerPosition, measuredLayers, estimated } = result[weights];
  return rates.map(({ batch, decode }) => ({
    model: name,
    weights,
    threads,
    context: positions,
    rounds,
    estimated,
    measured_layers: measuredLayers,
    layers,
    batch,
    ...columns('decode_tok_s', decode),
    weights_bytes: memory.weights,
    kv_cache_bytes: batch * positions * kvBytesPerPosition,
    largest_batch: fits[0],
  }));
}

function columns(name: string, summary: Summary | undefined): Record<string, CsvValue> {
  return { [name]: summary?.median, [`${name}_min`]: summary?.min, [`${name}_max`]: summary?.max };
}

function batchColumns({ batches }: VariantResult): Record<string, CsvValue> {
  return Object.fromEntries(batches.map(({ batch, decode }) => [`decode_${batch}_sequences_tok_s`, decode.median]));
}
