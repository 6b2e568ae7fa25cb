//! The figures, beside their floors and goals.

/// All figures of one run.
#[derive(Debug, Default)]
pub struct Sheet(Vec<Figure>);

/// One figure: the smaller the better.
#[derive(Debug)]
pub struct Figure {
    name: String,
    measured: f64,
    floor: Option<f64>,
    goal: Option<f64>,
}

impl Figure {
    /// What the kernel alone takes, in the same run.
    pub fn floor(&mut self, floor: f64) -> &mut Self {
        self.floor = Some(floor);
        self
    }

    /// What is good enough.
    pub fn goal(&mut self, goal: f64) -> &mut Self {
        self.goal = Some(goal);
        self
    }
}

impl Sheet {
    /// Adds a figure, and shows it at once.
    pub fn figure(&mut self, name: &str, measured: f64) -> &mut Figure {
        eprintln!("{name}: {measured:.2}");
        self.0.push(Figure {
            name: name.to_owned(),
            measured,
            floor: None,
            goal: None,
        });
        self.0.last_mut().unwrap()
    }

    /// The last figure with such a name.
    pub fn last(&self, is_so: impl Fn(&str) -> bool) -> f64 {
        let mut figures = self.0.iter().rev();
        figures.find(|figure| is_so(&figure.name)).unwrap().measured
    }

    /// The table of all.
    pub fn print(&self) {
        println!(
            "\n{:<46} {:>9} {:>9} {:>7} {:>9}",
            "FIGURE", "MEASURED", "FLOOR", "RATIO", "GOAL"
        );
        let shown =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        for figure in &self.0 {
            let ratio = figure.floor.map(|floor| figure.measured / floor);
            let judged = match figure.goal {
                Some(goal) if figure.measured <= goal => "met",
                Some(_) => "MISSED",
                None => "",
            };
            println!(
                "{:<46} {:>9.2} {:>9} {:>7} {:>9}  {judged}",
                figure.name,
                figure.measured,
                shown(figure.floor),
                shown(ratio),
                shown(figure.goal),
            );
        }
    }
}
