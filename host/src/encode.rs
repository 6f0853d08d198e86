//! Encodes a layer's weights as the block that the kernels read ([`bitbudget_core::block`]).

use bitbudget_core::level::WeightFormat;
use bitbudget_core::network::Network;
use bitbudget_core::quant::{QParams, Requant, Width, quantize_bias, quantize_half};

use crate::grid::{self, Grid};

/// One layer whose blocks are made: its real weights and the INT8 maps of its tensors.
#[derive(Clone, Copy, Debug)]
pub struct Encoder<'a> {
    /// `[O, …]`.
    pub weight: &'a [f32],
    /// `[O]`.
    pub bias: &'a [f32],
    /// The INT8 map of the input.
    pub input: QParams,
    /// The INT8 map of the output.
    pub output: QParams,
}

impl<'a> Encoder<'a> {
    /// The encoder of a network's layer with these weights.
    #[must_use]
    pub fn of_layer<const N: usize, const K: usize>(
        network: &Network<N, K>,
        layer: usize,
        weight: &'a [f32],
        bias: &'a [f32],
    ) -> Self {
        Self {
            weight,
            bias,
            input: network.qparams(usize::from(network.layers[layer].inputs[0])),
            output: network.qparams(layer + 1),
        }
    }

    /// The layer's block at FP32, or at FP16 where `half`.
    #[must_use]
    pub fn float(&self, half: bool) -> Vec<u8> {
        let mut block = Vec::new();
        self.bias.iter().for_each(|x| block.extend(x.to_le_bytes()));
        for x in self.weight {
            match half {
                true => block.extend(quantize_half(*x).to_bits().to_le_bytes()),
                false => block.extend(x.to_le_bytes()),
            }
        }
        pad(&mut block);
        block
    }

    /// The layer's block with these integer weights. A bias that exceeds 32 bits with the zero point folded
    /// in saturates, and the image's own check refuses it.
    ///
    /// # Panics
    /// When there is not one scale and one bias for each channel, and one code for each weight.
    #[must_use]
    pub fn integer(&self, grid: &Grid) -> Vec<u8> {
        let channels = self.bias.len();
        assert_eq!([grid.scales.len(), grid.bias.len()], [channels; 2]);
        assert_eq!(grid.codes.len(), self.weight.len());
        let steps = grid.scales.iter().map(|scale| self.input.scale * scale);
        let steps: Vec<f32> = steps.collect();
        let mut block = Vec::new();
        for ((bias, step), row) in grid.bias.iter().zip(&steps).zip(grid.rows()) {
            let sum: i64 = row.iter().map(|code| i64::from(*code)).sum();
            let own = i64::from(quantize_bias(*bias, *step));
            let folded = own - i64::from(self.input.zero_point) * sum;
            let folded = folded.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
            block.extend(folded.to_le_bytes());
        }
        let factors = steps
            .iter()
            .map(|step| Requant::from_real(step / self.output.scale));
        let factors: Vec<Requant> = factors.collect();
        for factor in &factors {
            block.extend(factor.multiplier.to_le_bytes());
        }
        block.extend(factors.iter().map(|factor| factor.shift));
        pad(&mut block);
        for row in grid.rows() {
            block.extend(packed(row, grid.width));
        }
        pad(&mut block);
        block
    }

    /// The layer's block in any format.
    ///
    /// # Panics
    /// When integer weights have no grid of their width among `grids`, or one of another number of channels.
    #[must_use]
    pub fn block(&self, format: WeightFormat, grids: &[Grid]) -> Vec<u8> {
        match format {
            WeightFormat::F32 => self.float(false),
            WeightFormat::F16 => self.float(true),
            WeightFormat::Int(width) => self.integer(grid::of_width(grids, width)),
        }
    }
}

/// The bytes of one channel's weights, the first in the low bits.
fn packed(codes: &[i8], width: Width) -> Vec<u8> {
    let bits = width.bits();
    let mask = u8::MAX >> (8 - bits);
    let field = |code: &i8| match width {
        Width::Int8 | Width::Int4 => code.cast_unsigned() & mask,
        // odd numbers
        Width::Int2 => ((code - 1) / 2).cast_unsigned() & mask,
    };
    let byte = |codes: &[i8]| {
        let fields = codes.iter().zip((0..8).step_by(bits as usize));
        fields.fold(0, |byte, (code, shift)| byte | field(code) << shift)
    };
    codes.chunks((8 / bits) as usize).map(byte).collect()
}

fn pad(block: &mut Vec<u8>) {
    block.resize(block.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use bitbudget_core::quant::quantize_weight;

    use super::*;

    const MAP: QParams = QParams {
        scale: 0.5,
        zero_point: 3,
    };

    fn words(block: &[u8]) -> Vec<i32> {
        let words = block.as_chunks().0;
        words.iter().map(|word| i32::from_le_bytes(*word)).collect()
    }

    #[test]
    fn blocks_are_laid_out_as_specified() {
        // two channels of three weights, in steps of 1 and 2
        let encoder = Encoder {
            weight: &[1.0, -2.0, 3.0, 6.0, -6.0, 2.0],
            bias: &[0.5, -4.0],
            input: MAP,
            output: MAP,
        };
        let encode = |width| {
            let (scales, bias) = (vec![1.0, 2.0], vec![1.0, -4.0]);
            encoder.integer(&Grid::nearest(encoder.weight, width, scales, bias))
        };
        // bias / (0.5 · scale) − 3 · Σ codes
        let biases = [2 - 3 * 2, -4 - 3];
        let factors = [1 << 30, 1 << 30];
        let header = [biases, factors].concat();
        let int8 = encode(Width::Int8);
        assert_eq!(words(&int8[..16]), header);
        // factors of 1 and 2
        assert_eq!(int8[16..20], [30, 29, 0, 0]);
        assert_eq!(int8[20..], [1, 0xfe, 3, 3, 0xfd, 1, 0, 0]);
        let int4 = encode(Width::Int4);
        assert_eq!(int4[20..], [0xe1, 0x03, 0xd3, 0x01]);
        // the odd codes −1 and 3 for −2 and 3, as −1 and 1
        let int2 = encode(Width::Int2);
        let codes = [1, -2, 3, 3, -3, 1].map(|code| quantize_weight(code as f32, 1.0, Width::Int2));
        let field = |code: i8| ((code - 1) / 2).cast_unsigned() & 3;
        let byte = |codes: &[i8]| field(codes[0]) | field(codes[1]) << 2 | field(codes[2]) << 4;
        assert_eq!(int2[20..], [byte(&codes[..3]), byte(&codes[3..]), 0, 0]);
        let float = encoder.float(false);
        assert_eq!(float.len(), 4 * 8);
        assert_eq!(
            float[..8],
            [0.5_f32.to_le_bytes(), (-4_f32).to_le_bytes()].concat()
        );
        let half = encoder.float(true);
        // binary16 of 1
        assert_eq!(half[8..10], [0, 0x3c]);
        assert_eq!(half.len(), 8 + 12);
    }
}
