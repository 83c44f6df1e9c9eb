//! Tier status.
