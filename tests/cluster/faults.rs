//! What a fault must never do, and that all is well afterwards. Reading order: `proxy_itself` (the tool).

mod proxy_itself;
