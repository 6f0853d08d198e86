//! One open partial layout on the stack of the search.

use super::surcharge::OPEN;

/// A partial layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<const D: usize> {
    /// The sum of the reduced prices of the core's groups that are decided.
    pub(super) loss: i64,
    /// What the limits leave for the groups that are open.
    pub(super) left: [i64; D],
    /// The surcharge that `left` allows for.
    pub(super) surcharge: u32,
    /// The column of the table in which the search for a bound begins.
    pub(super) column: u8,
}

/// A partial layout with its children that are still to be visited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<const K: usize, const D: usize> {
    pub(super) node: Node<D>,
    /// Whether the table has been refined for this node.
    pub(super) refined: bool,
    /// The class that was looked at last of those that can raise the surcharge; `OPEN` if there was none.
    pub(super) raising: u8,
    /// The least surcharge with that class.
    pub(super) raised: u32,
    next: u16,
    len: u16,
    /// The children, by rising bound.
    items: [u8; K],
    bounds: [i64; K],
}

impl<const K: usize, const D: usize> Frame<K, D> {
    pub(super) const EMPTY: Self = Self {
        node: Node {
            loss: 0,
            left: [0; D],
            surcharge: 0,
            column: 0,
        },
        refined: false,
        raising: 0,
        raised: 0,
        next: 0,
        len: 0,
        items: [0; K],
        bounds: [0; K],
    };

    /// Makes this the frame of a node, without children.
    pub(super) fn reset(&mut self, node: Node<D>) {
        self.node = node;
        self.refined = false;
        self.raising = OPEN;
        self.next = 0;
        self.len = 0;
    }

    /// Inserts a child, behind those of the same bound.
    pub(super) fn insert(&mut self, item: u8, bound: i64) {
        let mut place = usize::from(self.len);
        while place > 0 && self.bounds[place - 1] > bound {
            self.items[place] = self.items[place - 1];
            self.bounds[place] = self.bounds[place - 1];
            place -= 1;
        }
        self.items[place] = item;
        self.bounds[place] = bound;
        self.len += 1;
    }

    /// Returns the choice and bound of the child of the smallest bound; none if all bounds are
    /// larger than the gap.
    pub(super) fn child(&self, gap: i64) -> Option<(u8, i64)> {
        let next = usize::from(self.next);
        (self.next < self.len && self.bounds[next] <= gap)
            .then(|| (self.items[next], self.bounds[next]))
    }

    /// Removes that child.
    pub(super) const fn pop(&mut self) {
        self.next += 1;
    }
}
