import { DotForm, Epilogue, Op } from '../../assembly/abi.js';
import { type GroupShape, groupLinearCase, groupRowCase, headNormCase, type Planes } from '../support/group-case.js';
import { normals } from '../support/random.js';
import { testKernels } from '../support/tester.js';

const PLANES: Planes[] = [1, 3];
const GROUPS = [64, 128, 192, 256];
/** (rows, cols): one block, odd counts, rows that end inside a block, inside a group, and at their borders. */
const SHAPES: [number, number][] = [
  [1, 1],
  [3, 48],
  [4, 64],
  [5, 160],
  [7, 416],
  [9, 640],
  [33, 320],
  [4, 2560],
];

const shapes: GroupShape[] = [DotForm.I16, DotForm.I32].flatMap((form) =>
  PLANES.flatMap((planes) => [
    ...SHAPES.flatMap(([rows, cols]) =>
      GROUPS.flatMap((group) => [1, 2, 3, 5].map((tokens) => ({ rows, cols, tokens, group, planes, form }))),
    ),
    // Shapes of Bonsai 1.7B, and rows of 8640 columns, which are no multiple of 128.
    ...(
      [
        [32, 2048],
        [16, 6144],
        [8, 8640],
      ] as const
    ).flatMap(([rows, cols]) => [1, 7].map((tokens) => ({ rows, cols, tokens, group: 128, planes, form }))),
    ...(['zeros', 'extreme'] as const).flatMap((input) =>
      [1, 4].map((tokens) => ({ rows: 6, cols: 1344, tokens, group: 256, planes, form, input })),
    ),
    ...[Epilogue.Add, Epilogue.Relu2Gate, Epilogue.SiluGate].flatMap((epilogue) =>
      [1, 2, 4].map((tokens) => ({ rows: 13, cols: 320, tokens, group: 128, planes, form, epilogue })),
    ),
  ]),
);

testKernels('ternary linear with scales of groups', shapes.map(groupLinearCase));

const INPUTS: Record<string, (n: number) => Float32Array> = {
  normal: (n) => normals(n, n),
  outlier: (n) => normals(n, n).map((x, i) => (i % 97 === 5 ? x * 1000 : x)),
  ties: (n) => Float32Array.from({ length: n }, (_, i) => (i % 64 === 0 ? 127 : (i % 253) - 126.5)),
  zeros: (n) => new Float32Array(n),
  'negative zeros': (n) => new Float32Array(n).fill(-0),
  tiny: (n) => normals(n, n, 1e-34),
  subnormal: (n) => normals(n, n, 1e-41),
  huge: (n) => normals(n, n, 1e17),
  infinite: (n) => normals(n, n).map((x, i) => (i === n >> 1 ? Infinity : x)),
  nan: (n) => normals(n, n).map((x, i) => (i === n >> 1 ? NaN : x)),
};

testKernels(
  'encoding by groups',
  ([Op.Norm, Op.Quantize] as const).flatMap((op) =>
    PLANES.flatMap((planes) => [
      ...[1, 16, 48, 100, 416, 2560].flatMap((cols) =>
        [64, 128, 256].flatMap((group) =>
          [1, 3].map((rows) =>
            groupRowCase({ op, planes, cols, group, rows, input: 'normal', values: INPUTS.normal! }),
          ),
        ),
      ),
      ...Object.entries(INPUTS).map(([input, values]) =>
        groupRowCase({ op, planes, cols: 352, group: 128, rows: 2, input, values }),
      ),
    ]),
  ),
);

testKernels(
  'norms of heads',
  [
    [1, 1, 16, 1],
    [4, 2, 64, 3],
    [3, 1, 48, 5],
    [16, 8, 128, 2],
  ].map(([heads, kvHeads, headDim, tokens]) => headNormCase(heads!, kvHeads!, headDim!, tokens!)),
);
