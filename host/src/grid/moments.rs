//! Moments of the inputs that weights meet.

use candle_core::{DType, Device, Result, Tensor};

/// Sums over the input patches `[K]` that one group of output channels is multiplied with.
#[derive(Clone, Debug)]
pub struct Moments {
    count: f64,
    sum: Vec<f64>,
    /// `[K, K]`; `None` where K exceeds [`Moments::MAX_SQUARED_LEN`].
    products: Option<Tensor>,
}

impl Moments {
    /// The longest patch whose second moments are kept; beyond, the error of the weights themselves
    /// chooses the scale.
    pub const MAX_SQUARED_LEN: usize = 2048;

    /// The moments of these patches, `[rows, K]`.
    ///
    /// # Errors
    /// candle's.
    pub fn of(patches: &Tensor) -> Result<Self> {
        let (rows, len) = patches.dims2()?;
        let ones = Tensor::ones((1, rows), DType::F32, &Device::Cpu)?;
        let sum: Vec<f32> = ones.matmul(patches)?.flatten_all()?.to_vec1()?;
        let products = if len <= Self::MAX_SQUARED_LEN {
            let products = patches.t()?.contiguous()?.matmul(patches)?;
            Some(products.to_dtype(DType::F64)?)
        } else {
            None
        };
        Ok(Self {
            count: rows as f64,
            sum: sum.into_iter().map(f64::from).collect(),
            products,
        })
    }

    /// Adds the moments of other patches.
    ///
    /// # Errors
    /// candle's, when the patches have another length.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.count += other.count;
        for (sum, more) in self.sum.iter_mut().zip(&other.sum) {
            *sum += more;
        }
        self.products = match (&self.products, &other.products) {
            (Some(a), Some(b)) => Some((a + b)?),
            _ => None,
        };
        Ok(())
    }

    pub(super) fn means(&self) -> Vec<f64> {
        self.sum.iter().map(|sum| sum / self.count).collect()
    }

    /// The matrix that makes squared output errors of weight errors, `[K, K]`: the covariance where the
    /// mean goes into the bias.
    pub(super) fn metric(&self, bias_correction: bool) -> Result<Option<Tensor>> {
        let Some(products) = &self.products else {
            return Ok(None);
        };
        let second = (products / self.count)?;
        if !bias_correction {
            return Ok(Some(second));
        }
        let mean = Tensor::from_vec(self.means(), (self.sum.len(), 1), &Device::Cpu)?;
        Ok(Some((second - mean.matmul(&mean.t()?)?)?))
    }
}
