"""Built-in methods: name -> "module:Class". One line per entry; importing this imports no torch."""

METHODS: dict[str, str] = {
    "mezo": "zobench.zo.methods.mezo:Mezo",
    "mezo-one-sided": "zobench.zo.methods.mezo_one_sided:MezoOneSided",
    "fzoo": "zobench.zo.methods.fzoo:Fzoo",
    "zo-adam": "zobench.zo.methods.zo_adam:ZoAdam",
    "zo-sgd-momentum": "zobench.zo.methods.zo_sgd_momentum:ZoSgdMomentum",
    "zo-sgd-sign": "zobench.zo.methods.zo_sgd_sign:ZoSgdSign",
    "zo-sgd-conservative": "zobench.zo.methods.zo_sgd_conservative:ZoSgdConservative",
    "forward-gradient": "zobench.zo.methods.forward_gradient:ForwardGradient",
    "adamw": "zobench.zo.methods.first_order:Adamw",
    "sgd": "zobench.zo.methods.first_order:FirstOrderSgd",
    "random-direction": "zobench.zo.methods.controls:RandomDirection",
    "none": "zobench.zo.methods.controls:NoTraining",
}
