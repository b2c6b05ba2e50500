"""Engines that run model files behind one protocol, and the plans that say how."""
